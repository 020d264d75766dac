"""SAC on keypoints: descriptions as frames would give them, keypoints that stand still, exact resuming."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from toy_agent import make_trainer
from toy_pixels import ENV_ID, SIZE

from handgen.callbacks.env_steps import EnvSteps
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.datamodules.envs import GymEnvs
from handgen.datamodules.evaluation_episodes import Player
from handgen.datamodules.keypoint_replay import KeypointReplay
from handgen.datamodules.keypoint_rollouts import KeypointRollouts
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.errors import UserError
from handgen.pixels.autoencoder import FrameAutoencoder
from handgen.pixels.keypoint_state import KeypointState, reliable_directions, shift_images, slow_directions
from handgen.pixels.sac_imm import SACIMM, SMALLEST_DEVIATION

IMM: dict[str, Any] = {"keypoints": 2, "width": 4, "equivariance_weight": 0.0}
AUTOENCODER: dict[str, Any] = {"latent_dim": 3, "filters": 4, "strides": (2, 1), "lr": 0.01}


def agent(**settings: Any) -> SACIMM:
    torch.manual_seed(0)
    sizes = {"action_dim": 1, "image_size": SIZE, "frame_stack": 2, "hidden_dims": (16, 16)}
    return SACIMM(**{**sizes, "imm": IMM, "smallest_reliability": None, "smallest_slowness": None, **settings})


def rollouts(**settings: Any) -> KeypointRollouts:
    chosen = {
        "env_id": ENV_ID,
        "batch_size": 8,
        "replay_capacity_transitions": 60,
        "warmup_decisions": 12,
        "epoch_env_steps": 30,
        "eval_episodes": 2,
        "test_episodes": 2,
        "seed": 3,
        "keypoint_updates": 5,
        "keypoint_batch_size": 4,
    }
    return KeypointRollouts(**{**chosen, **settings})


def test_the_state_is_places_and_motions_by_hand() -> None:
    frames = torch.tensor([[[1.0, 0.0], [2.0, 0.5], [4.0, -1.0]]])  # oldest first
    actions = torch.tensor([[[9.0], [0.25], [-0.5]]])  # that led to each frame
    known = torch.cat([frames, actions], dim=2)
    places_and_motions = [4.0, -1.0, 20.0, -15.0, 10.0, 5.0]
    assert KeypointState(3, 2, 1, motion_scale=10.0)(known).tolist() == [[*places_and_motions, -0.5, 0.25]]
    assert KeypointState(3, 2, 0, motion_scale=10.0)(known).tolist() == [places_and_motions]


def test_what_is_still_is_told_of_the_newest_frame_alone() -> None:
    known = torch.tensor([[[1.0, 7.0, 9.0], [2.0, 8.0, 0.25]]])  # a coordinate, a latent, an action
    state = KeypointState(2, 2, 1, motion_scale=10.0, still_dim=1)
    assert state(known).tolist() == [[2.0, 8.0, 10.0, 0.25]]
    assert state.feature_dim == 4


def test_slow_directions_find_what_does_not_jump() -> None:
    generator = torch.Generator().manual_seed(0)
    slow = torch.sin(torch.arange(2000) * 2 * torch.pi / 50)  # 50 frames a round
    jumping = torch.randn(2000, 3, generator=generator)
    mixing = torch.tensor([[0.2, 0.1, -0.1, 0.3], [0.5, 0.0, 0.2, 0.1], [0.0, 0.4, 0.3, 0.0], [0.1, 0.2, 0.0, 0.5]])
    latents = 0.7 + 10 * torch.cat([slow[:, None], jumping], dim=1) @ mixing
    directions, slowness = slow_directions(latents)
    told = (latents - latents.mean(0)) @ directions
    torch.testing.assert_close(told.T @ told / len(told), torch.eye(4), atol=1e-3, rtol=0.0)
    assert torch.corrcoef(torch.stack([told[:, 0], slow]))[0, 1].abs() > 0.99
    # A sine that goes round in P frames changes by 2 sin(pi / P) of its size, noise by sqrt(2) of its.
    assert slowness[0] == pytest.approx(1 / (2 * math.sin(math.pi / 50)), rel=0.1)
    torch.testing.assert_close(slowness[1:], torch.full((3,), 0.5**0.5), atol=0.05, rtol=0.0)


def test_frames_are_settled_on_in_the_order_in_which_they_came() -> None:
    source = rollouts(num_envs=2, warmup_decisions=8)
    source.trainer = SimpleNamespace(lightning_module=agent(), world_size=1, global_rank=0)  # type: ignore[assignment]
    source.setup("fit")
    source._warm_up()
    frames = source._stored().unflatten(0, (2, 4))  # of each environment, none of which has ended
    following = FrameReplay._next_obs(cast(FrameReplay, source.replay), torch.arange(8))[:, -3:].unflatten(0, (4, 2))
    assert torch.equal(frames[:, 1:], following[:-1].transpose(0, 1))
    assert not torch.equal(frames[0], frames[1])


def test_reliable_directions_find_the_scene_behind_the_points() -> None:
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(2000, 2, generator=generator)
    sd = torch.tensor([0.01, 0.04, 0.02, 0.05])  # of the errors of each coordinate
    mixed = torch.stack([scene[:, 0], scene[:, 0], scene[:, 0] + 0.1 * scene[:, 1], torch.zeros(2000)], dim=1)
    points = mixed + sd * torch.randn(2000, 4, generator=generator)
    errors = sd * torch.randn(4, 2000, 4, generator=generator)
    directions, reliability = reliable_directions(points, errors)
    told = (points - points.mean(0)) @ directions
    torch.testing.assert_close(told.T @ told / len(told), torch.eye(4), atol=1e-3, rtol=0.0)
    seen = torch.corrcoef(torch.cat([told, scene], dim=1).T)[:4, 4:].abs()
    assert seen[0, 0] > 0.999
    assert seen[1, 1] > 0.97
    # Of the whole scene: sqrt(1 + 1 / 0.01^2 + 1 / 0.04^2 + ...) for the first, and nothing but errors in the last two.
    assert reliability[0] == pytest.approx((1 + 1 / 0.01**2 + 1 / 0.04**2 + 1 / 0.02**2) ** 0.5, rel=0.05)
    torch.testing.assert_close(reliability[2:], torch.ones(2), atol=0.1, rtol=0.0)


def test_a_point_that_jumps_once_stays_reliable() -> None:
    points = torch.linspace(-1, 1, 500)[:, None]
    errors = torch.full((1, 500, 1), 0.01)
    errors[0, 7] = 2.0
    assert reliable_directions(points, errors)[1].item() == pytest.approx(0.578 / (0.01**2 + 0.1**2 / 500) ** 0.5, 0.02)


def test_images_are_shifted_by_whole_pixels() -> None:
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert shift_images(image, 1, 0)[0, 0].tolist() == [[0.0, 0.0, 1.0], [3.0, 3.0, 4.0]]
    assert shift_images(image, 0, -1)[0, 0].tolist() == [[3.0, 4.0, 5.0], [3.0, 4.0, 5.0]]


def test_unreliable_directions_are_not_told() -> None:
    frames = torch.randint(0, 256, (40, 3, SIZE, SIZE), dtype=torch.uint8)
    for floor, told in ((0.0, 4), (None, 4)):
        module = agent(smallest_reliability=floor)
        module.settle(frames)
        described = module.describe(frames)
        assert int((described.std(0) > 0).sum()) == told
        torch.testing.assert_close(described.mean(0), torch.zeros(4), atol=1e-4, rtol=0.0)
    module = agent(smallest_reliability=0.0)
    points = module.keypoints(frames).flatten(1)
    _, reliability = reliable_directions(points, module._shifted_points(frames) - points)
    between = float(reliability[1] + reliability[2]) / 2
    module = agent(smallest_reliability=between)
    module.settle(frames)
    assert int((module.description_map.norm(dim=0) > 0).sum()) == 2
    with pytest.raises(UserError, match="keypoints tell nothing"):
        agent(smallest_reliability=1e6).settle(frames)


@pytest.mark.parametrize("settings", [{"keypoint": 3}, {"keypoints": "three"}, {"image_size": None}])
def test_a_wrong_setting_of_the_keypoints_gets_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"imm: |keypoints must be a whole number"):
        agent(imm=settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"latents": 3}, "autoencoder: .*latents"),
        ({"image_size": 9}, "autoencoder: image_size cannot be set"),
        ({"latent_dim": 0}, "latent_dim must be at least 1"),
        ({"strides": [0]}, "strides must be at least 1 each"),
        ({"strides": []}, "strides must be at least 1 each"),
        ({"compute": "float16"}, "compute must be one of"),
        ({"lr": 0.0}, "lr must be positive"),
    ],
)
def test_a_wrong_setting_of_the_autoencoder_gets_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        agent(autoencoder=settings)


def test_latents_are_told_beside_the_keypoints() -> None:
    frames = torch.randint(0, 256, (40, 3, SIZE, SIZE), dtype=torch.uint8)
    module = agent(autoencoder=AUTOENCODER, smallest_reliability=0.0, smallest_slowness=None)
    module.settle(frames)
    described = module.describe(frames)
    assert described.shape == (40, 4 + 3)
    torch.testing.assert_close(described.mean(0), torch.zeros(7), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(described[:, :4].std(0), torch.ones(4), atol=0.05, rtol=0.0)
    assert module.autoencoder is not None
    latent = module.autoencoder(frames)
    deviation = latent.std(0).clamp(min=SMALLEST_DEVIATION)
    torch.testing.assert_close(described[:, 4:], (latent - latent.mean(0)) / deviation, atol=1e-4, rtol=1e-4)
    assert module.act(torch.randn(2, 2, 7 + 1)).shape == (2, 1)  # of two frames and the actions that led to them


def test_of_the_latents_what_is_slow_is_told() -> None:
    frames = torch.randint(0, 256, (40, 3, SIZE, SIZE), dtype=torch.uint8)
    module = agent(autoencoder=AUTOENCODER)
    assert module.autoencoder is not None
    latent = module.autoencoder(frames).detach()
    directions, slowness = slow_directions(latent)
    assert slowness[0] > slowness[1] > slowness[2]
    module = agent(autoencoder=AUTOENCODER, smallest_slowness=float(slowness[:2].mean()))
    module.settle(frames)
    told = module.describe(frames)[:, 4:]
    torch.testing.assert_close(told[:, :1], (latent - latent.mean(0)) @ directions[:, :1], atol=1e-3, rtol=1e-3)
    assert (told[:, 1:] == 0).all()
    assert module.describe(frames)[:, :4].std(0).min() > 0.0  # the keypoints are told as ever
    with pytest.raises(UserError, match="latent jumps"):
        agent(autoencoder=AUTOENCODER, smallest_slowness=1e6).settle(frames)


def test_the_loss_of_the_autoencoder_is_the_published_one() -> None:
    model = FrameAutoencoder(3, SIZE, latent_weight=0.5, **{k: v for k, v in AUTOENCODER.items() if k != "lr"})
    frames = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    torch.manual_seed(1)
    found = model.loss(frames)
    torch.manual_seed(1)
    target = (torch.rand(4, 3, SIZE, SIZE) + frames // 8) / 32 - 0.5
    latent = model(frames)
    penalty = 0.5 * latent.square().sum() / 4
    expected = (model.decoder(latent) - target).square().mean() + 0.5 * penalty
    torch.testing.assert_close(found, expected)


def test_what_sees_slows_down_and_the_agent_does_not(tmp_path: Path) -> None:
    module = run(tmp_path, 1, autoencoder=AUTOENCODER)[0]
    optimiser = cast(Any, module.optimizers()).optimizer
    rates = {group["name"]: group["lr"] for group in optimiser.param_groups}
    begun = {group["name"]: group["initial_lr"] for group in optimiser.param_groups}
    seeing = ("keypoints", "encoder", "decoder")
    for name, rate in rates.items():
        assert (rate < 0.1 * begun[name]) == (name in seeing), name
    assert begun["encoder"] == begun["decoder"] == AUTOENCODER["lr"]


def test_the_loss_of_the_autoencoder_moves_nothing_else() -> None:
    module = agent(autoencoder=AUTOENCODER)
    assert module.autoencoder is not None
    frames = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    module.autoencoder.loss(frames).backward()
    moved = {name.split(".")[0] for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert moved == {"autoencoder"}
    assert all(parameter.grad is not None for parameter in module.autoencoder.parameters())
    groups = {group["name"]: group for group in module.parameter_groups()}
    assert groups["decoder"]["weight_decay"] > 0
    assert "weight_decay" not in groups["encoder"]
    moving = sum(len(groups[name]["params"]) for name in ("encoder", "decoder"))
    assert moving == len(list(module.autoencoder.parameters()))


def describe(frames: Tensor) -> Tensor:
    return torch.stack([frames.float().mean((1, 2, 3)), frames[:, 0, 0].float().argmax(1)], dim=1)


@pytest.mark.parametrize("described_frames", [1, 2])
@pytest.mark.parametrize("n_step", [1, 3])
def test_drawn_descriptions_are_those_of_the_drawn_frames(n_step: int, described_frames: int) -> None:
    envs = GymEnvs(ENV_ID, 3)
    plain = FrameReplay(60, 3, envs.obs_shape, 1, n_step, frame_stack=2)
    replay = KeypointReplay(2, described_frames, 60, 3, envs.obs_shape, 1, n_step, frame_stack=2)
    obs = envs.reset([0, 1, 2])
    for _ in range(31):  # the ring comes round
        action = torch.rand(3, 1) * 2 - 1
        step = envs.step(action)
        kept = {"obs": obs, "action": action, "reward": step.reward, "next_obs": step.next_obs}
        kept |= {"terminated": step.terminated, "truncated": step.truncated}
        plain.add(kept)
        newest, after = (images[:, -3 * described_frames :] for images in (obs, step.next_obs))
        replay.add({**kept, "description": describe(newest), "next_description": describe(after)})
        obs = step.obs
    for anew in (False, True):
        if anew:
            replay.columns["description"].zero_()
            replay.describe_all(describe)
        frames, described = (buffer.sample(200, torch.Generator().manual_seed(1)) for buffer in (plain, replay))
        for name in ("obs", "next_obs"):
            windows = frames[name].unfold(1, 3 * described_frames, 3).movedim(-1, 2)
            expected = describe(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])
            assert torch.equal(described[name][..., :2], expected), name
        assert torch.equal(frames["reward"], described["reward"])


def test_drawn_actions_are_those_that_led_to_the_frames() -> None:
    replay = KeypointReplay(1, 1, 20, 2, (3, 1, 1), 1, frame_stack=3)
    stacks, time, recorded = torch.zeros(2, 3, 1, 1, dtype=torch.uint8), 0, {}
    history = [[0.0, 0.0], [0.0, 0.0]]  # actions between the last three frames, of each environment
    for time in range(1, 24):
        action = torch.tensor([[float(time)], [-float(time)]])
        next_obs = torch.cat([stacks[:, 1:], torch.full((2, 1, 1, 1), time, dtype=torch.uint8)], dim=1)
        ended = torch.tensor([time % 4 == 0, time % 7 == 0])
        before = [list(past) for past in history]
        history = [[past[1], float(a)] for past, a in zip(history, action[:, 0], strict=True)]
        for env in range(2):
            recorded[float(action[env])] = (before[env], history[env])
        kept = {"obs": stacks, "action": action, "reward": torch.zeros(2), "next_obs": next_obs}
        kept |= {"terminated": torch.zeros(2, dtype=torch.bool), "truncated": ended}
        replay.add({**kept, "description": torch.zeros(2, 1), "next_description": torch.zeros(2, 1)})
        stacks = torch.where(ended[:, None, None, None], torch.full_like(next_obs, time), next_obs)
        history = [[0.0, 0.0] if end else past for end, past in zip(ended, history, strict=True)]
    newest, which = replay.newest()
    assert newest[:, :, 1].tolist() == [[0.0, *recorded[sign * 23.0][1]] for sign in (1.0, -1.0)]
    assert which.tolist() == [False, False]
    batch = replay.sample(100, torch.Generator().manual_seed(0))
    for row in range(100):
        obs, next_obs = recorded[float(batch["action"][row])]
        assert batch["obs"][row, :, 1].tolist() == [0.0, *obs]
        assert batch["next_obs"][row, :, 1].tolist() == [0.0, *next_obs]


def run(
    folder: Path, epochs: int, checkpoint: Path | None = None, **settings: Any
) -> tuple[SACIMM, KeypointRollouts, dict[str, Any]]:
    module, source = agent(**settings), rollouts()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=3, save_top_k=-1)
    trainer = make_trainer(
        folder,
        max_epochs=epochs,
        enable_checkpointing=True,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[TorchRandomState(), EnvSteps(), saver],
    )
    trainer.fit(module, source, ckpt_path=checkpoint, weights_only=True)
    return module, source, {**module.state_dict(), **source.replay.columns}


@pytest.mark.parametrize("autoencoder", [None, AUTOENCODER])
def test_what_sees_is_learnt_first_and_then_stands_still(autoencoder: dict[str, Any] | None, tmp_path: Path) -> None:
    module, source, weights = run(tmp_path, 2, autoencoder=autoencoder)
    assert (source.keypoint_updates_done, source.updates, source.decisions) == (5, 20, 32)
    fresh, at_three, at_six = (
        agent(autoencoder=autoencoder).state_dict(),
        *(torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)["state_dict"] for step in (3, 6)),
    )
    latents = ["autoencoder.convolutions.layers.0.weight", "autoencoder.decoder.linear.weight"]
    points = ["imm.keynet.body.fine.0.weight", "imm.gennet.appearance.0.0.weight"]
    for name in points + (latents if autoencoder is not None else []):
        assert not torch.equal(fresh[name], at_three[name])
        assert torch.equal(at_six[name], weights[name])
    assert torch.equal(fresh["actor.net.0.weight"], at_three["actor.net.0.weight"])
    assert not torch.equal(at_three["actor.net.0.weight"], weights["actor.net.0.weight"])
    frames = source.replay.frames(torch.arange(len(source.replay)))
    described = source.replay.columns["description"][: len(frames), 0]
    assert (described.std(0) > 0.01).any()  # or zeros would be compared with zeros
    torch.testing.assert_close(described, module.describe(frames), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("step", "settings"),
    [
        (3, {}),
        (9, {}),
        (18, {}),
        (9, {"described_frames": 2}),
        (3, {"autoencoder": AUTOENCODER}),
        (9, {"autoencoder": AUTOENCODER}),
    ],
)
def test_resuming_is_exact(step: int, settings: dict[str, Any], tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2, **settings)[2]
    resumed = run(tmp_path / "resumed", 2, tmp_path / "whole" / f"step={step}.ckpt", **settings)[2]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("described_frames", [1, 2])
def test_a_player_knows_what_the_replay_knows(described_frames: int) -> None:
    module, envs = agent(described_frames=described_frames), GymEnvs(ENV_ID, 2)
    replay = KeypointReplay(4, described_frames, 60, 2, envs.obs_shape, 1, frame_stack=2)
    obs = envs.reset([0, 1])
    player = Player(module, envs)
    for _ in range(3):
        action = player.act(obs)
        assert player.known is not None
        assert torch.equal(action, module.act(player.known.values, deterministic=True))
        step = envs.step(action)
        kept = {"obs": obs, "action": action, "reward": step.reward, "next_obs": step.next_obs}
        kept |= {"terminated": step.terminated, "truncated": step.truncated}
        replay.add({**kept, "description": module.describe(obs), "next_description": module.describe(step.next_obs)})
        obs = step.obs
        assert not (step.terminated | step.truncated).any()
    player.act(obs)
    torch.testing.assert_close(player.known.values, replay.newest()[0])


def test_a_checkpoint_makes_the_agent_again(tmp_path: Path) -> None:
    module = run(tmp_path, 1)[0]
    loaded = SACIMM.load_from_checkpoint(next(tmp_path.glob("*.ckpt")), weights_only=True)
    assert {**loaded.hparams} == {**module.hparams}


def test_keypoints_of_whole_stacks_have_no_past() -> None:
    module = agent(described_frames=2)
    known = torch.randn(3, 1, 5)  # of one set of points, and the action beside it
    assert torch.equal(module(known), module(torch.cat([known[..., :4], torch.ones(3, 1, 1)], dim=2)))
    with pytest.raises(UserError, match="described_frames=3"):
        agent(described_frames=3)


def test_a_trainer_that_would_not_notice_the_longer_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reload_dataloaders_every_n_epochs=1"):
        make_trainer(tmp_path).fit(agent(), rollouts())
