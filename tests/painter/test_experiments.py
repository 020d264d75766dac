"""The painters' experiments, shrunk, through the command line in this process."""

import json
import os
from pathlib import Path

import pytest
from opengl import needs_gl

from handgen import cli
from handgen.painter import evaluation

SHRUNK = [
    "--threads=1",
    "--model.image_size=16",
    "--model.width=16",
    "--model.length=3",
    "--model.strokes=2",
    "--model.discriminator_width=4",
    "--data.train_count=40",
    "--data.fit_updates=2",
    "--data.distill_updates=2",
    "--data.batch_size=4",
    "--data.fit_batch_size=4",
    "--data.epoch_updates=3",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
]
HERE = Path(os.environ.get("HANDGEN_DATA", "data"))
NAMES = [
    "spiral_digits",
    "spiral_hands",
    pytest.param("spiral_scenes", marks=needs_gl),
    *(
        pytest.param(name, marks=pytest.mark.skipif(not (HERE / data).is_dir(), reason=f"no {data} in HANDGEN_DATA"))
        for name, data in (
            ("spiral_mnist", "mnist"),
            ("spiral_mnist_recon", "mnist"),
            ("spiral_mnist_recon_discriminator", "mnist"),
            ("spiral_omniglot", "omniglot"),
        )
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_experiment_trains_resumes_and_samples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CLASSIFIER_UPDATES", 3)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    words = ["--config", name, *SHRUNK, f"--runs={tmp_path / 'runs'}"]
    words += ["--data.fit_updates=0"] if name == "spiral_scenes" else []
    assert cli.main(["fit", *words]) == 0
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    variants = {r["variant"] for r in json.loads((run / "result.json").read_text())}
    assert {"distilled", "rl"} <= variants
    assert (run / "images" / "rl-final.png").is_file()
    assert cli.main(["fit", *words, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    if name in ("spiral_digits", "spiral_mnist"):
        assert cli.main(["sample", *words, "--count=2"]) == 0
        assert len(list(tmp_path.rglob("painting-*.svg"))) == 2
