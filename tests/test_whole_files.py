"""A file is there whole, or as it was."""

from pathlib import Path

import pytest

from handgen.whole_files import whole_file


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    with whole_file(path) as partial:
        partial.write_text("1")
        assert not path.exists() and partial.parent == path.parent
    assert path.read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_the_old_file_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
