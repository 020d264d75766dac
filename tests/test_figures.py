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


def test_the_last_sheets_of_a_run_are_copied_without_their_last_word(tmp_path: Path) -> None:
    run, images = tmp_path / "arm_sac" / "run", tmp_path / "images"
    (run / "images").mkdir(parents=True)
    images.mkdir()
    for name in ("hands11k-rl-final.png", "hands11k-008000.png", "rl-final.gif"):
        (run / "images" / name).write_bytes(name.encode())
    shown = "![sheet](docs/images/arm_sac_hands11k_rl.png) ![film](docs/images/arm_sac_rl.gif)"
    copied = copy_sheets(run, images, shown)
    assert [path.name for path in copied] == ["arm_sac_hands11k_rl.png", "arm_sac_rl.gif"]
    assert copied[0].read_bytes() == b"hands11k-rl-final.png"


def test_pictures_of_the_page_of_results_are_copied_too(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "leaderboard" / "run"
    run.mkdir(parents=True)
    (run / "hands.png").write_bytes(b"picture")
    copied = copy_sheets(run, tmp_path, "nothing is shown here")
    assert copied == [tmp_path / "leaderboard_hands.png"] and copied[0].read_bytes() == b"picture"
