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
from handgen.painter import losses
from handgen.painter.module import Painter
from handgen.painter.policy import NOISE
from handgen.painter.rollout import Rollout, paint_program, random_programs
from handgen.painter.world import PaintWorld

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
        ("rl", {"joint": True, "adversary": "spectral"}, {"stroke_net", "policy", "discriminator", "distilled"}),
        ("rl", {"joint": True, "adversary": "spectral", "compute": "bfloat16"},
         {"stroke_net", "policy", "discriminator", "distilled"}),
        ("rl", {"table": "free_grey"}, {"policy", "discriminator", "distilled"}),
        ("rl", {"conditional": True, "reward": "l2", "paintings_of_a_target": 2, "most_strokes": 1},
         {"policy", "distilled"}),
    ],
)  # fmt: skip
def test_each_stage_moves_its_networks_alone(
    stage: str, settings: dict[str, Any], expected: set[str], tmp_path: Path
) -> None:
    updates = {"fit": (2, 0), "distill": (0, 2), "rl": (0, 0)}[stage]
    module = painter(**settings)
    before = copy.deepcopy(module.state_dict())
    stages = {"fit_updates": updates[0], "distill_updates": updates[1], "warming_updates": 0, "distill_on": "random"}
    source = Paintings(**{**DATA, **stages, "fit_updates": 1 if settings.get("joint") else updates[0]})
    trainer(tmp_path, 1).fit(module, source)
    assert changed(module, before) == expected


@pytest.mark.parametrize("settings", [{}, {"policy_size": "paper"}, {"imitation_weight": 1.0}])
def test_while_the_discriminator_warms_up_the_policy_stays_but_for_its_value(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    module = painter(**settings)
    before = copy.deepcopy(module.state_dict())
    stages = {"fit_updates": 0, "distill_updates": 0, "distill_on": "random", "warming_updates": 9}
    trainer(tmp_path, 1).fit(module, Paintings(**{**DATA, **stages}))
    moved = {
        name for name, value in module.policy.state_dict().items() if not torch.equal(value, before[f"policy.{name}"])
    }
    assert moved and all(name.startswith("value") for name in moved)


def rollout(module: Painter, drawn: list[bool]) -> Rollout:
    actions = random_programs(module.table, 2, len(drawn), torch.Generator().manual_seed(0))
    actions[..., 0] = torch.tensor(drawn).float()
    return paint_program(module.world(), actions)


def test_the_reward_starts_with_moments_of_its_own(tmp_path: Path) -> None:
    module = painter(policy_epochs=1, minibatches=1)
    stages = {"fit_updates": 0, "distill_on": "random", "warming_updates": 0, "epoch_updates": 3}
    watched = trainer(tmp_path, 1)
    watched.fit(module, Paintings(**{**DATA, **stages}))
    # Two updates of `distill`, then one of `rl`.
    assert {int(state["step"]) for state in watched.optimizers[1].state.values()} == {1}


def test_vtrace_weighs_what_the_policy_would_do_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ratios: list[torch.Tensor] = []
    plain = losses.vtrace

    def watched(log_ratio: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, torch.Tensor]:
        ratios.append(log_ratio)
        return plain(log_ratio, *rest)

    monkeypatch.setattr(losses, "vtrace", watched)
    stages = {"fit_updates": 0, "distill_updates": 0, "warming_updates": 0, "epoch_updates": 1}
    module = painter(algorithm="a2c", policy_epochs=2, rl_lr=1e-2)
    trainer(tmp_path, 1).fit(module, Paintings(**{**DATA, **stages}))
    first, second = ratios
    torch.testing.assert_close(first, torch.zeros_like(first), atol=1e-4, rtol=0.0)
    assert second.abs().max() > 1e-3  # the policy has moved since it painted


@pytest.mark.parametrize("spectral", [True, False])
def test_scoring_leaves_the_discriminator_as_it_was(spectral: bool) -> None:
    module = painter(adversary="spectral" if spectral else "wgan_gp").train()
    before = copy.deepcopy(module.discriminator.state_dict())
    made = rollout(module, [True, True, True])
    module.rewards(made)
    module.worth(made.finished)
    for name, value in module.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert module.discriminator.training


def test_what_a_canvas_is_worth_is_in_the_units_of_rewards() -> None:
    for settings in ({}, {"conditional": True}, {"conditional": True, "complement": True}):
        module = painter(blank_penalty=0.0, **settings)
        made = rollout(module, [True, True, True])
        target = torch.rand_like(made.finished) if settings else None
        made = Rollout(made.canvases, made.actions, made.log_prob, made.noise, target)
        rewards, _ = module.rewards(made)
        if "complement" not in settings:  # in training a random half is shown, here the whole
            gained = module.worth(made.finished, target) - module.worth(made.canvases[0], target)
            torch.testing.assert_close(rewards.sum(0), gained, atol=1e-4, rtol=1e-4)
        assert module.worth(made.finished, target).shape == (2,)


def test_noise_is_another_on_each_picture_of_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of paintings that equal their targets, the two channels are equal but for the noise."""
    module = painter(conditional=True, instance_noise=0.5)
    made = rollout(module, [False, False, False])
    made = Rollout(made.canvases, made.actions, made.log_prob, made.noise, made.finished)
    shown: list[torch.Tensor] = []

    def looked(image: torch.Tensor, target: Any = None, actions: Any = None) -> torch.Tensor:
        shown.append(image)
        return image.flatten(1).mean(1)

    monkeypatch.setattr(module.discriminator, "forward", looked)
    module.rewards(made)
    steps = shown[0].unflatten(0, (4, 2))
    torch.testing.assert_close(steps[0], steps[3])  # the same noise at all times
    difference = steps[0, :, 0] - steps[0, :, 1]
    assert difference.std().item() == pytest.approx(0.5 * 2**0.5, rel=0.15)


def test_coarse_pictures_fade_away_over_the_last_third_of_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, error = [], losses.pyramid_error

    def watched(painted: torch.Tensor, image: torch.Tensor, coarse: float) -> torch.Tensor:
        weights.append(coarse)
        return error(painted, image, coarse=coarse)

    monkeypatch.setattr(losses, "pyramid_error", watched)
    source = Paintings(**{**DATA, "fit_updates": 10, "epoch_updates": 10})
    trainer(tmp_path, 1).fit(painter(), source)
    assert weights == pytest.approx([1.0] * 7 + [0.9, 0.6, 0.3])


def test_a_copying_policy_begins_with_what_fit_has_learnt_to_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, program_nll = [], Painter.program_nll

    def watched(self: Painter, rollout: Rollout) -> torch.Tensor:
        assert self.policy.reader is not None
        ours, learnt = self.policy.reader.state_dict(), self.stroke_net.encoder.state_dict()
        seen.append(all(torch.equal(ours[name], learnt[name]) for name in learnt))
        return program_nll(self, rollout)

    monkeypatch.setattr(Painter, "program_nll", watched)
    trainer(tmp_path, 2).fit(painter(conditional=True), Paintings(**DATA))
    assert seen == [True, False]  # from where it goes on learning


def test_paintings_are_judged_at_the_temperature_at_which_they_were_painted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_ratios, clipped, vtrace = [], losses.clipped_policy_loss, losses.vtrace

    def watched_loss(log_prob: torch.Tensor, old: torch.Tensor, *others: Any) -> torch.Tensor:
        log_ratios.append((log_prob - old).abs().max().item())
        return clipped(log_prob, old, *others)

    def watched_trace(log_ratio: torch.Tensor, *others: Any) -> Any:
        log_ratios.append(log_ratio.abs().max().item())
        return vtrace(log_ratio, *others)

    monkeypatch.setattr(losses, "clipped_policy_loss", watched_loss)
    monkeypatch.setattr(losses, "vtrace", watched_trace)
    stages = {"fit_updates": 0, "distill_updates": 0, "distill_on": "random", "warming_updates": 0}
    for algorithm in ("ppo", "a2c"):
        module = painter(temperature=0.25, algorithm=algorithm, policy_epochs=1, minibatches=1)
        trainer(tmp_path / algorithm, 1).fit(module, Paintings(**{**DATA, **stages}))
    assert log_ratios == pytest.approx([0.0] * 4, abs=1e-4)  # the policy has not moved since it painted


def test_imitation_falls_over_the_rewarded_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[float] = []
    improve = Painter._improve

    def watched(self: Painter, rollout: Rollout, reward: torch.Tensor, programs: Any, weight: float) -> None:
        weights.append(weight)
        improve(self, rollout, reward, programs, weight)

    monkeypatch.setattr(Painter, "_improve", watched)
    stages = {"fit_updates": 0, "distill_updates": 0, "distill_on": "random", "warming_updates": 0}
    module = painter(imitation_weight=0.4, imitation_falls=True)
    trainer(tmp_path, 2).fit(module, Paintings(**{**DATA, **stages}))
    assert weights == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_programs_are_shared_out_over_all_minibatches(tmp_path: Path) -> None:
    module = painter(imitation_weight=0.4, minibatches=5)
    source = Paintings(**{**DATA, "batch_size": 28, "fit_updates": 1, "distill_updates": 0, "warming_updates": 0})
    trainer(tmp_path, 1).fit(module, source)  # 7 programs beside 28 paintings
    assert module.rewarded


def test_a_painter_draws_no_more_strokes_than_it_may() -> None:
    module = painter(length=6, most_strokes=2)
    made = module.paint(module.world(), 20)
    assert (made.actions[..., 0].sum(0) <= 2).all() and (made.actions[..., 0].sum(0) == 2).any()
    decided = module.policy(made.seen(), actions=made.actions)
    torch.testing.assert_close(decided.log_prob.sum(-1), made.log_prob, atol=1e-4, rtol=1e-4)


def test_samples_are_painted_on_the_engine_of_training() -> None:
    module, source = painter(), Paintings(**DATA, engine="mypaint", brush="pencil")
    source.setup("fit")  # as `handgen sample` does, without a trainer
    module.prepare_sampling(source)
    try:
        world = module.world()
    except UserError as error:
        pytest.skip(str(error))
    assert isinstance(world, PaintWorld) and type(world.engine).__name__ == "MyPaintEngine"


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


def test_an_empty_floor_is_blank_too() -> None:
    floor = torch.full((3, 2, 3, 16, 16), 0.9)
    floor[-1, 1, :, 2:8, 2:8] = 0.2
    made = Rollout(floor, torch.zeros(2, 2, 7), torch.zeros(2, 2), torch.zeros(2, NOISE))
    assert made.blank.tolist() == [True, False]


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
    "settings",
    [
        {},
        {"conditional": True, "imitation_weight": 0.1},
        {"joint": True, "adversary": "spectral"},
        {"conditional": True, "adversary": "spectral", "glimpse": 8},
    ],
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
    from handgen.sampling import paint_again

    module = painter()
    images = module.sample(3, seed=5)
    assert images.shape == (3, 3, 16, 16) and torch.equal(images, module.sample(3, seed=5))
    assert not torch.equal(images, module.sample(3, seed=6))
    film = module.write_programs(tmp_path, 3, seed=5)
    assert film.stat().st_size > 0
    for number in range(3):
        again = replay(load_program(tmp_path / f"painting-{number:03d}.json"), 16)[-1]
        assert torch.equal(again.expand(3, -1, -1), images[number])
        assert (tmp_path / f"painting-{number:03d}.svg").read_text().startswith("<svg")
    for name in ("png", "svg", "json"):  # as `make sample INPUT=painting-002.json` does
        paint_again(tmp_path / "painting-002.json", tmp_path)
        once, twice = (
            folder / f"painting-{number}.{name}"
            for folder, number in zip((tmp_path, tmp_path / "painting-002"), ("002", "000"), strict=True)
        )
        assert once.read_bytes() == twice.read_bytes()


def test_a_painter_that_copies_samples_copies_of_held_out_pictures() -> None:
    module, source = painter(conditional=True), Paintings(**DATA)
    source.setup("fit")
    module.prepare_sampling(source)
    assert module.to_copy is not None and len(module.to_copy) == len(source.pictures["test"])
    assert module.sample(3, seed=1).shape == (3, 3, 16, 16)
    assert torch.equal(module.sample(3, seed=1), module.sample(3, seed=1))
    with pytest.raises(UserError, match="copies pictures: there are"):
        module.sample(len(module.to_copy) + 1)


def test_settings_that_contradict_each_other_get_one_line() -> None:
    with pytest.raises(UserError, match="conditional"):
        painter(reward="l2")
    with pytest.raises(UserError, match="channels"):
        painter(channels=2)
    with pytest.raises(UserError, match="copies pictures"):
        painter(conditional=True).sample(1)
    with pytest.raises(UserError, match="no sampler"):
        painter().sample(1, sampler="oil")
