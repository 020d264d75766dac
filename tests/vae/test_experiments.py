"""Every experiment of the VAE, shrunk, through the command line in this process."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from handgen import cli
from handgen.images import write_png
from handgen.paths import experiments_root

EXPERIMENTS = sorted(
    path.relative_to(experiments_root()).with_suffix("").as_posix()
    for path in experiments_root().rglob("vae*.yaml")
    if "sweeps" not in path.parts and not path.stem.startswith("vae_sac")  # tests/latent
)
SHRUNK = [
    "--threads=1",
    "--evaluate_after_fit=false",
    "--model.image_size=32",
    "--model.latent_dim=4",
    "--model.width=8",
    "--model.gmm_components=2",
    "--model.second_stage_steps=3",
    "--data.image_size=32",
    "--data.batch_size=4",
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=1",
]


def photographs(root: Path, count: int = 40) -> Path:
    """Drawn stand-ins for photographs: a skin-coloured palm with five bars, in the 11k Hands layout."""
    rng = np.random.default_rng(0)
    rows = ["id,age,gender,skinColor,accessories,nailPolish,aspectOfHand,imageName,irregularities"]
    for i in range(count):
        image = np.full((120, 120, 3), 240, np.uint8)
        image[60:120, 35:85] = image[30:70, 36:84] = (200, 150, 120)
        for finger in range(5):
            image[10 + rng.integers(8) : 60, 36 + 10 * finger : 43 + 10 * finger] = (200, 150, 120)
        name = f"Hand_{i:07d}.png"
        write_png(root / "hands11k" / "Hands" / name, image)
        rows.append(f"{i},25,female,fair,0,0,palmar right,{name},0")
    (root / "hands11k" / "HandInfo.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_trains(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HANDGEN_DATA", str(photographs(tmp_path / "data")))
    monkeypatch.delenv("HANDGEN_RUN_FOLDER", raising=False)
    words = ["fit", "--config", name, *SHRUNK, f"--runs={tmp_path / 'runs'}"]
    config = yaml.safe_load((experiments_root() / f"{name}.yaml").read_text())
    dataset = config["data"]["init_args"].get("dataset", "synthetic")
    if dataset == "synthetic":
        words += ["--data.train_count=12", "--data.val_count=4", "--data.test_count=4"]
    if dataset == "folder":
        words += ["--data.folder=hands11k/Hands"]
    if name == "vae":
        words += ["--trainer.max_epochs=5"]  # the sheets of images come every fifth epoch
    assert cli.main(words) == 0
    (run,) = [path.parent for path in (tmp_path / "runs").rglob("metrics.csv")]
    header = (run / "metrics.csv").read_text().partition("\n")[0].split(",")
    assert {"train/loss", "loss/recon", "loss/kl", "eval/mse"} <= set(header)
    pictures = {path.name for path in (run / "images").glob("*.png")}
    assert any(picture.startswith("samples-") for picture in pictures)
    if name == "vae":
        assert pictures >= {
            "samples-prior-000010.png",
            "reconstructions-000010.png",
            "samples-second_stage-000010.png",
        }


def test_there_are_experiments() -> None:
    assert {"vae", "vae_128", "vae_hands11k", "vae_folder", "paper/vae", "demo/vae"} == set(EXPERIMENTS)
