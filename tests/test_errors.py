"""One clear line for what cannot be: settings out of range, commands that do not fit, failures in other processes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from handgen import cli
from handgen.callbacks.sample_grid import SampleGrid
from handgen.datamodules import rendered
from handgen.datamodules.rendered import render_on_all_cores
from handgen.errors import UserError, check_at_least, check_positive
from handgen.sac import SAC
from handgen.vae.module import VAE


def test_numbers_are_refused_by_name() -> None:
    check_at_least(1, count=1, other=None)
    check_positive(lr=0.1, other=None)
    with pytest.raises(UserError, match="count must be at least 1, got 0"):
        check_at_least(1, good=3, count=0)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match="lr must be positive"):
            check_positive(lr=wrong)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (SampleGrid, {"every_n_epochs": 0}, "every_n_epochs must be at least 1"),
        (VAE, {"lr": -1.0}, "lr must be positive"),
        (VAE, {"gmm_components": 0}, "gmm_components must be at least 1"),
        (SAC, {"obs_dim": 2, "action_dim": 1, "actor_lr": 0.0}, "actor_lr must be positive"),
    ],
)
def test_settings_out_of_range(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**settings)


def test_only_images_are_rendered_ahead(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    assert cli.main(["frames", "--config=sac_pendulum", f"--runs={tmp_path}"]) == 2
    assert "frames is for experiments such as vae and imm" in capsys.readouterr().err


def refusing(rows: Tensor) -> Any:
    raise UserError("unknown task swingop")


def test_what_fails_in_another_process_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "usable_cores", lambda: 2)
    with pytest.raises(UserError) as caught:
        list(render_on_all_cores([torch.arange(2), torch.arange(2)], refusing))
    assert str(caught.value) == "unknown task swingop"
