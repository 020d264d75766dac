"""The worked example of CONTRIBUTING.md does what the page says, in fewer than 80 lines."""

import json
import re
from pathlib import Path

import pytest
import torch

from handgen import cli

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
SHRUNK = ["--threads=1", "--data.train_count=16", "--data.val_count=8", "--data.test_count=8", "--data.batch_size=8"]


def code(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_example_is_short() -> None:
    assert len((code("python") + code("yaml")).splitlines()) < 80


def test_the_example_trains_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "denoiser.py").write_text(code("python"))
    (tmp_path / "denoiser.yaml").write_text(code("yaml"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--config", "denoiser.yaml", *SHRUNK]
    assert cli.main([*words, "--trainer.max_epochs=1"]) == 0
    (result,) = (tmp_path / "runs").rglob("result.json")
    assert any(record["metric"] == "loss" for record in json.loads(result.read_text()))
    assert cli.main([*words, "--trainer.max_epochs=2", "--ckpt_path=last"]) == 0


def test_its_loss_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "denoiser_alone.py").write_text(code("python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    import denoiser_alone  # type: ignore[import-not-found]

    assert denoiser_alone.denoising_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == 2.5
