"""IMM: what forward gives, where gradients go, that it learns, and that a resumed run equals one that never stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from toy_frames import TINY, Squares, make_trainer, squares

from handgen.callbacks.keypoint_figure import draw_figure
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.errors import UserError
from handgen.keypoints import IMM, KeyNet
from handgen.keypoints.overlay import draw_keypoints

PUBLISHED = {"layers": "published", "marginals": "published", "image_size": 32}


def tiny(**settings: Any) -> IMM:
    module = IMM(**{**TINY, **settings})
    module.log = module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    module.fit_background(squares(16, module.hparams["image_size"])[0])
    return module


def batch(size: int = 24) -> dict[str, Tensor]:
    return {"image": squares(6, size)[0].float() / 255}


@pytest.mark.parametrize(
    "settings", [{}, PUBLISHED, {"transporter": True}, {"image_size": 31}, {"keypoints": 1}, {"map_reduction": 4}]
)
def test_forward_gives_coordinates_in_the_frame(settings: dict[str, Any]) -> None:
    module = tiny(**settings).eval()
    image = batch(module.hparams["image_size"])["image"]
    keypoints = module(image)
    assert keypoints.shape == (6, module.hparams["keypoints"], 2) and keypoints.abs().max() < 1
    assert module.reconstruct(image.roll(1, 0), image).shape == image.shape
    assert torch.equal(module.keynet(image), keypoints)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        PUBLISHED,
        {"transporter": True},
        {"crop": "same"},
        {"crop": "independent"},
        {"source": "bent"},
        {"separation_weight": 0.1, "concentration_weight": 0.1},
    ],
)
def test_every_weight_gets_a_gradient(settings: dict[str, Any]) -> None:
    module = tiny(**settings)
    module.training_step(batch(module.hparams["image_size"]), 0).backward()
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    assert all(p.grad.abs().sum() > 0 for p in module.keynet.parameters() if p.ndim > 1 and p.grad is not None)


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("recon", {"keynet", "gennet"}),
        ("equivariance", {"keynet"}),
        ("separation", {"keynet"}),
        ("concentration", {"keynet"}),
    ],
)
def test_each_term_reaches_what_it_should(term: str, reached: set[str]) -> None:
    module = tiny(equivariance_weight=1.0, separation_weight=1.0, concentration_weight=1.0)
    module.terms(batch()["image"])[term].backward()
    moved = {name.split(".")[0] for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == reached


def test_a_transporter_learns_nothing_from_the_source() -> None:
    module = tiny(transporter=True, equivariance_weight=0.0)
    source, target = batch()["image"].requires_grad_(), batch()["image"]
    module._generate(source, target, module(target), module(source)).sum().backward()
    assert source.grad is None or source.grad.abs().sum() == 0


def test_it_learns_where_the_square_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, data = IMM(**TINY, lr=3e-3), Squares(batches=120)
    trainer = make_trainer(tmp_path, max_steps=120)
    trainer.fit(module, data)
    after = trainer.callback_metrics
    trainer = make_trainer(tmp_path, max_steps=1)
    torch.manual_seed(0)
    trainer.fit(IMM(**TINY, lr=0.0), Squares(batches=1))
    before = trainer.callback_metrics
    assert after["train/loss"] < 0.5 * before["train/loss"]
    assert after["eval/probe/r2_x"] > 0.9 and after["eval/probe/r2_sin"] > 0.9  # the two coordinates of the centre


@pytest.mark.parametrize("every", [4, 2])  # at the end of an epoch of four batches, and in the middle of one
def test_resuming_is_exact(tmp_path: Path, every: int) -> None:
    def run(steps: int, checkpoint: Path | None = None) -> dict[str, Tensor]:
        torch.manual_seed(0 if checkpoint is None else 99)
        module = IMM(**TINY, lr_schedule="constant", crop="same", crop_share=0.9)
        saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=every, save_top_k=-1)
        settings = {"max_steps": steps, "enable_checkpointing": True, "callbacks": [TorchRandomState(), saver]}
        make_trainer(tmp_path, **settings).fit(module, Squares(), ckpt_path=checkpoint)
        return module.state_dict()

    straight = run(8)
    resumed = run(8, checkpoint=tmp_path / f"step={every}.ckpt")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keypoints": 0}, "keypoints=0"),
        ({"keypoints": -3}, "at least 1"),
        ({"keypoints": 2.5}, "whole number"),
        ({"width": 0}, "width"),
        ({"lr": -1.0}, "lr must be 0 or more"),
        ({"image_size": 8}, "at least 16"),
        ({"crop": "same", "crop_share": 0.5}, "at least 16"),
        ({"map_reduction": 3}, "half"),
        ({"sigma": 0.0}, "sigma"),
        ({"temperature": -1.0}, "temperature"),
        ({"marginals": "publishd"}, "marginals must be one of joint, published"),
        ({"source": "bended"}, "source must be one of another, bent"),
        ({"lr_schedule": "cosin"}, "lr_schedule must be one of"),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        IMM(**{**TINY, **settings})
    assert "\n" not in str(error.value)


def test_frames_of_another_size_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.image_size=\d+ and model\.image_size=48 must be the same"):
        make_trainer(tmp_path, max_steps=1).fit(IMM(**{**TINY, "image_size": 48}), Squares())


def test_keynet_alone_is_what_agents_use() -> None:
    net = KeyNet(keypoints=5, image_size=84).eval()
    assert net(torch.rand(2, 3, 84, 84)).shape == (2, 5, 2)
    assert net.score_maps(torch.rand(2, 3, 84, 84)).shape == (2, 5, 42, 42)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    module = tiny().eval()
    with torch.no_grad():
        figure = draw_figure(module, batch()["image"][:3])
    assert figure.ndim == 3 and figure.shape[2] == 3 and figure.std() > 10


def test_keypoints_are_drawn_where_they_are() -> None:
    frames = torch.zeros(1, 3, 10, 10, dtype=torch.uint8)
    drawn = draw_keypoints(frames, torch.tensor([[[0.5, -0.5]]]), scale=4, radius=0.1)
    assert drawn.shape == (1, 3, 40, 40) and drawn.dtype == torch.uint8
    assert drawn[0, :, 10, 30].max() == 255
    assert drawn[0, :, 30, 10].max() == 0


def test_concentration_grows_to_its_weight() -> None:
    module = tiny(concentration_weight=0.4, concentration_from_step=100)
    found = [module.term_weight("concentration", step) for step in (0, 100, 150, 200, 900)]
    assert found == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.4])
