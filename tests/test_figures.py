"""Pictures of runs reach the pages that show them, and no others."""

from pathlib import Path

from handgen.figures import copy_sheets


def test_only_pictures_that_a_page_shows_are_copied(tmp_path: Path) -> None:
    run, images = tmp_path / "vae" / "run", tmp_path / "images"
    run.mkdir(parents=True)
    images.mkdir()
    for name in ("shown", "hidden"):
        (run / f"{name}.png").write_bytes(name.encode())
    copied = copy_sheets(run, images, "![sheet](docs/images/vae_shown.png) and vae_hidden.png in words")
    assert copied == [images / "vae_shown.png"]
    assert copied[0].read_bytes() == b"shown"
    assert list(images.iterdir()) == copied
