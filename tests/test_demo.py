"""The demo: its presets exist, its page holds the newest pictures of each part, and a part that fails is told."""

import re
import time
from pathlib import Path

import pytest
import torch

from handgen import cli, demo
from handgen.experiment import known_experiments
from handgen.images import make_grid, write_png

PRESETS = {part.preset for part in demo.PARTS}


def test_every_preset_is_shown_and_every_part_has_one() -> None:
    assert {name for name in known_experiments() if name.startswith("demo/")} == PRESETS


def test_the_page_holds_the_newest_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def trained(part: demo.Part, runs: Path) -> str:
        if part.preset == "demo/vae_sac":
            assert "demo/vae" in done  # it starts from that run
            return "no <judge> today"
        time.sleep(0.2 if part.preset == "demo/vae" else 0.0)
        for place, pattern in enumerate(part.pictures):
            picture = make_grid(torch.full((1, 3, 8, 8), 0.2 * place))
            write_png(
                runs / part.preset / "20300101-000000-seed0" / pattern.replace("*", "1").replace(".gif", ".png"),
                picture,
            )
        done.append(part.preset)
        return ""

    monkeypatch.setattr(demo, "run_steps", trained)
    words = ["demo/vae_sac", "demo/vae", f"--runs={tmp_path}", f"--out={tmp_path / 'page.html'}"]
    assert cli.main(["demo", *words]) == 1
    text = (tmp_path / "page.html").read_text()
    assert len(re.findall(r'<img alt="samples-(prior|gmm)-1" src="data:image/png;base64,', text)) == 2
    assert "no &lt;judge&gt; today" in text and text.count("<h2>") == 2
    assert not re.search(r'(src|href)="http', text)


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "demo/nothing"]) == 2
    assert "no part 'demo/nothing': known are demo/vae" in capsys.readouterr().err
