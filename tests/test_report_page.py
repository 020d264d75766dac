"""The page of results: interquartile means by hand, and a page that needs nothing but itself and its pictures."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handgen.interquartile import bootstrap_interval, interquartile_mean
from handgen.report_page import BROWSERS, SECTIONS, WINDOW, photograph, to_html, write_page
from handgen.report_tables import TABLES
from handgen.results import Record


def record(seed: int, value: float, experiment: str = "sac_imm") -> Record:
    return Record(experiment, "handgen/CartpolePixels-v0", "", "return@100k", value, seeds=[seed], n=10)


def test_a_quarter_is_left_out_at_each_end() -> None:
    assert interquartile_mean([5.0, 1.0, 2.0, 100.0]) == 3.5
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0  # too few to leave any out


def test_one_broken_run_of_many_hardly_widens_the_interval() -> None:
    low, high = bootstrap_interval([10.0] * 9 + [-1000.0])
    assert low > 9 - 300 and high == 10.0
    assert bootstrap_interval([3.0] * 5) == (3.0, 3.0)


def test_every_section_names_tables_that_there_are() -> None:
    assert {name for section in SECTIONS for name in section.tables} <= TABLES.keys()


def test_a_table_is_escaped_and_its_links_and_notes_are_kept() -> None:
    page = to_html("| a<b | c |\n| --- | --- |\n| [x](https://a.b/c) | `d` |\n\n<sub>note; `code`</sub>")
    assert "<th>a&lt;b</th>" in page and '<a href="https://a.b/c">x</a>' in page and "<code>d</code>" in page
    assert '<p class="note">note; <code>code</code></p>' in page and "---" not in page


def test_the_page_shows_what_there_is_and_refers_to_nothing_else(tmp_path: Path) -> None:
    images = tmp_path / "docs" / "images"
    images.mkdir(parents=True)
    (images / "pixels_returns.png").write_bytes(b"")
    path = write_page([record(seed, value) for seed, value in enumerate((800.0, 810.0, 820.0))], tmp_path)
    assert path is not None
    text = path.read_text()
    assert re.findall(r'src="([^"]+)"', text) == ["images/pixels_returns.png"]
    assert "<h2" in text and text.count("<h2") == 1  # the others have neither records nor pictures
    assert "<td>810 [" in text.replace("\n", "")
    assert not re.search(r'(src|href)="(?!#|images/|https://)', text)
    assert write_page([record(seed, value) for seed, value in enumerate((800.0, 810.0, 820.0))], tmp_path) is None


@pytest.mark.parametrize("count", [2, 3])
def test_interquartile_means_need_three_seeds(count: int, tmp_path: Path) -> None:
    (tmp_path / "docs" / "images").mkdir(parents=True)
    path = write_page([record(seed, 800.0 + seed) for seed in range(count)], tmp_path)
    assert path is not None and ("interquartile means over seeds" in path.read_text()) is (count == 3)


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser to look at the page with")
def test_a_browser_shows_the_page_without_a_network(tmp_path: Path) -> None:
    images = tmp_path / "docs" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (600, 600), (200, 30, 30)).save(images / "pixels_returns.png")
    page = write_page([record(seed, 800.0 + seed) for seed in range(3)], tmp_path)
    assert page is not None
    picture = photograph(page, tmp_path / "seen.png")
    assert picture is not None
    with Image.open(picture) as seen:
        shown = np.asarray(seen.convert("RGB")).astype(int)
    assert shown.shape == (WINDOW[1] * 2 // 3, WINDOW[0] * 2 // 3, 3)
    assert (abs(shown - (200, 30, 30)).max(-1) < 12).mean() > 0.1  # the page's picture is in it
