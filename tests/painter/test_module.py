"""The painter's stages: who learns from what, what is rewarded, and that resuming goes on as if nothing had been."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.datamodules.paintings import Paintings
from handgen.errors import UserError
from handgen.painter.module import Painter
from handgen.painter.rollout import Rollout, paint_program, random_programs

TINY: dict[str, Any] = {"image_size": 16, "length": 3, "strokes": 2, "width": 16, "discriminator_width": 4}
DATA: dict[str, Any] = {
    "train_count": 40,
    "fit_updates": 2,
    "distill_updates": 2,
    "fit_batch_size": 4,
    "batch_size": 4,
    "warming_updates": 1,
    "replay_batches": 3,
    "epoch_updates": 2,
}


def trainer(folder: Path, epochs: int, *callbacks: Any) -> Trainer:
    return Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, limit_val_batches=0, callbacks=[TorchRandomState(), *callbacks],
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    )  # fmt: skip


def painter(**settings: Any) -> Painter:
    torch.manual_seed(0)
    return Painter(**{**TINY, **settings})


def changed(module: Painter, before: dict[str, torch.Tensor]) -> set[str]:
    """Parts of the module whose parameters are others now."""
    after = module.state_dict()
    return {name.split(".")[0] for name, _ in module.named_parameters() if not torch.equal(after[name], before[name])}


@pytest.mark.parametrize(
    ("stage", "settings", "expected"),
    [
        ("fit", {}, {"stroke_net"}),
        ("distill", {}, {"policy"}),
        ("rl", {}, {"policy", "discriminator", "distilled"}),
        ("rl", {"adversary": "spectral", "algorithm": "a2c", "credit": "end"},
         {"policy", "discriminator", "distilled"}),
        ("rl", {"conditional": True, "reward": "l2"}, {"policy", "distilled"}),
        ("rl", {"conditional": True, "complement": True, "imitation_weight": 0.1},
         {"policy", "discriminator", "distilled"}),
        ("rl", {"conditional": True, "blind": True, "adversary": "spectral"}, {"policy", "discriminator", "distilled"}),
        ("rl", {"joint": True, "adversary": "spectral"}, {"policy", "discriminator", "distilled"}),
    ],
)  # fmt: skip
def test_each_stage_moves_its_networks_alone(
    stage: str, settings: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    updates = {"fit": (2, 0), "distill": (0, 2), "rl": (0, 0)}[stage]
    module = painter(**settings)
    before = copy.deepcopy(module.state_dict())
    source = Paintings(**{**DATA, "fit_updates": updates[0], "distill_updates": updates[1], "warming_updates": 0})
    trainer(tmp_path, 1).fit(module, source)
    assert changed(module, before) == expected


def test_while_the_discriminator_warms_up_the_policy_stays_but_for_its_value(tmp_path: Path) -> None:
    module = painter()
    before = copy.deepcopy(module.state_dict())
    trainer(tmp_path, 1).fit(
        module, Paintings(**{**DATA, "fit_updates": 0, "distill_updates": 0, "warming_updates": 9})
    )
    moved = {
        name for name, value in module.policy.state_dict().items() if not torch.equal(value, before[f"policy.{name}"])
    }
    assert moved and all(name.startswith("value") for name in moved)


def rollout(module: Painter, drawn: list[bool]) -> Rollout:
    actions = random_programs(module.table, 2, len(drawn), torch.Generator().manual_seed(0))
    actions[..., 0] = torch.tensor(drawn).float()
    return paint_program(module.world(), actions)


@pytest.mark.parametrize("credit", ["difference", "end"])
def test_rewards_add_up_to_the_score_less_the_penalties(credit: str) -> None:
    module = painter(length=4, credit=credit, new_stroke_penalty=0.5)
    made = rollout(module, [True, True, False, True])
    with torch.no_grad():
        first, last = (module.discriminator(made.canvases[at]) for at in (0, -1))
        rewards, mean = module.rewards(made)
    worth = (last - module.score_mean) / module.score_sd
    empty = (first - module.score_mean) / module.score_sd
    expected = worth - (empty if credit == "difference" else 0.0) - 2 * 0.5
    torch.testing.assert_close(rewards.sum(0), expected, atol=1e-4, rtol=1e-4)
    assert mean.item() == pytest.approx(last.mean().item(), abs=1e-5)


def test_a_blank_canvas_costs() -> None:
    module = painter(blank_penalty=3.0)
    with torch.no_grad():
        rewards, _ = module.rewards(rollout(module, [False, False, False]))
    torch.testing.assert_close(rewards, torch.tensor([0.0, 0.0, -3.0])[:, None].expand(3, 2), atol=1e-5, rtol=0.0)


def test_squared_error_as_reward_is_what_the_error_loses() -> None:
    module = painter(conditional=True, reward="l2", blank_penalty=0.0)
    made = rollout(module, [True, True, True])
    made = Rollout(made.canvases, made.actions, made.log_prob, made.noise, torch.zeros_like(made.finished))
    rewards, _ = module.rewards(made)
    gained = 1.0 - made.finished.square().flatten(1).mean(1)
    torch.testing.assert_close(rewards.sum(0) * module.score_sd, gained, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"conditional": True, "imitation_weight": 0.1}, {"joint": True, "adversary": "spectral"}]
)
def test_a_resumed_run_equals_an_uninterrupted_one(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = painter(**settings)
    torch.manual_seed(1)
    trainer(tmp_path / "whole", 4).fit(whole, Paintings(**DATA))
    for stop in (1, 3):  # while strokes are fitted, and while the policy is rewarded
        begun, folder = painter(**settings), tmp_path / f"parts{stop}"
        torch.manual_seed(1)
        keep = ModelCheckpoint(folder, save_last=True, save_on_train_epoch_end=True)
        trainer(folder, stop, keep).fit(begun, Paintings(**DATA))
        torch.manual_seed(99)
        resumed = Painter(**{**TINY, **settings})
        trainer(folder, 4).fit(resumed, Paintings(**DATA), ckpt_path=folder / "last.ckpt")
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(resumed.state_dict()[name], value, msg=f"{name} after {stop}")


def test_samples_are_a_function_of_their_seed_and_programs_paint_them_again(tmp_path: Path) -> None:
    from handgen.painter.programs import load_program, replay

    module = painter()
    images = module.sample(3, seed=5)
    assert images.shape == (3, 3, 16, 16) and torch.equal(images, module.sample(3, seed=5))
    assert not torch.equal(images, module.sample(3, seed=6))
    film = module.write_programs(tmp_path, 3, seed=5)
    assert film.stat().st_size > 0
    for number in range(3):
        again = replay(load_program(tmp_path / f"painting-{number:03d}.json"), 16)[-1]
        torch.testing.assert_close(again.expand(3, -1, -1), images[number])
        assert (tmp_path / f"painting-{number:03d}.svg").read_text().startswith("<svg")


def test_settings_that_contradict_each_other_get_one_line() -> None:
    with pytest.raises(UserError, match="conditional"):
        painter(reward="l2")
    with pytest.raises(UserError, match="channels"):
        painter(channels=2)
    with pytest.raises(UserError, match="copies pictures"):
        painter(conditional=True).sample(1)
    with pytest.raises(UserError, match="no sampler"):
        painter().sample(1, sampler="oil")
