"""The arm's methods: what each loss moves, when the warm start ends, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from handgen.arm.actor_critic import ArmActorCritic
from handgen.arm.body import HIGH, LOW
from handgen.arm.drawing import draw_masks
from handgen.arm.geometry import joints_of
from handgen.arm.mobilenet import MobileNetV2
from handgen.arm.module import ArmSAC
from handgen.arm.networks import SideBySide
from handgen.errors import UserError

SIZE = 28


def small(**kwargs: Any) -> ArmSAC:
    torch.manual_seed(0)
    return ArmSAC(size=SIZE, feature_dim=8, hidden_dims=(8,), log_std_bounds=(-5.0, 0.0), **kwargs)


def pictures(count: int, channels: int = 1, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, 2 * size), generator=generator, dtype=torch.uint8)


def imitation_batch(count: int = 4) -> dict[str, Tensor]:
    obs = pictures(count)
    joints = torch.full((count, 12), 0.3)
    joints[count // 2 :, :4] = float("nan")  # hands, whose thumb and index finger are not known,
    joints[count // 2 :, 10:] = float("nan")  # and the lean of whose arm never is
    return {"obs": obs, "mask": obs[:, 0, :, :SIZE], "joints": joints}


def moved(module: torch.nn.Module, loss: Tensor) -> set[str]:
    module.zero_grad()
    loss.backward()
    return {name for name, p in module.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}


def test_target_and_arm_meet_as_channels() -> None:
    obs = pictures(2)
    image = SideBySide(1)(obs)
    assert image.shape == (2, 2, SIZE, SIZE)
    torch.testing.assert_close(image[:, 0] + 0.5, obs[:, 0, :, :SIZE] / 255.0)
    torch.testing.assert_close(image[:, 1] + 0.5, obs[:, 0, :, SIZE:] / 255.0)


def test_the_warm_start_moves_the_actor_and_nothing_else() -> None:
    module = small()
    for name in ("joints", "digits", "silhouette", "posture"):
        names = moved(module, module.imitation_losses(imitation_batch())[name])
        assert any("trunk.convolutions" in parameter for parameter in names)
        assert all(parameter.startswith("actor.") for parameter in names)


def test_the_warm_start_s_terms_are_weighed() -> None:
    module = small(joints_weight=2.0, digits_weight=7.0, silhouette_weight=3.0, posture_weight=5.0)
    terms = module.imitation_losses(imitation_batch())
    wanted = 2 * terms["joints"] + 7 * terms["digits"] + 3 * terms["silhouette"] + 5 * terms["posture"]
    torch.testing.assert_close(module.imitation_loss(terms), wanted)
    assert all(float(term.detach()) > 0 for term in terms.values())


def test_joints_are_of_the_arm_s_poses_digits_of_hands_and_posture_of_what_is_not_known() -> None:
    joints = torch.zeros(2, 12)
    joints[0], joints[1, :4], joints[1, 4:10], joints[1, 10:] = 1.0, 2.0, 3.0, 100.0
    truth = imitation_batch(2)["joints"]
    terms = small().pose_losses(joints, truth)
    assert float(terms["joints"]) == pytest.approx(0.7**2) and float(terms["digits"]) == pytest.approx(2.7**2)
    assert float(terms["posture"]) == pytest.approx(4.0)


def test_the_critics_loss_leaves_the_actor_s_encoder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmSAC, "logs_now", False)
    module = small()
    module.rewarded_updates.fill_(1_000)
    q = module.online.critics(module.online.trunk(module.online.encoder(pictures(4))), torch.zeros(4, 12))
    assert all(name.startswith("online.") for name in moved(module, q.sum()))
    shared = module.online.encoder(pictures(4))
    features = module.online.trunk(shared)
    assert features.requires_grad is False  # the target's mask: nothing learnt is in it
    for name in ("actor", "kept_silhouette"):
        terms = module.policy_losses(shared, features, torch.tensor(0.1))
        reached = moved(module, terms[name])
        assert reached and all(name.startswith("actor.") for name in reached)


def transitions(count: int = 4) -> dict[str, Any]:
    batch = imitation_batch(count)
    known = {"obs": batch["obs"], "mask": batch["mask"], "joints": batch["joints"]}
    rewards = torch.arange(float(count))[:, None]
    return {
        "obs": batch["obs"],
        "next_obs": batch["obs"],
        "action": torch.zeros(count, 12),
        "reward": rewards,
        "counted": torch.ones(count, 1, dtype=torch.bool),
        "terminated": torch.zeros(count, dtype=torch.bool),
        "hindsight": torch.arange(count) == count - 1,
        "known": known,
        "env_steps": 0,
    }


def test_while_it_is_rewarded_the_actor_goes_on_imitating() -> None:
    module, batch = small(finger_weight=0.0, joints_weight=2.0, imitation_weight=0.5), imitation_batch()
    terms = kept(module, batch["obs"])
    before = module.imitation_losses(batch)
    before["joints"] = module.imitation_losses({**batch, "obs": module.answered(batch["obs"])})["joints"]
    torch.testing.assert_close(terms["kept_silhouette"], 0.5 * 20.0 * before["silhouette"])
    torch.testing.assert_close(terms["kept_joints"], 0.5 * 2.0 * before["joints"])
    for name in terms:
        reached = moved(module, kept(module, batch["obs"])[name])
        assert reached and all(name.startswith("actor.") for name in reached)
    assert kept(small(imitation_weight=0.0), batch["obs"]) == {}


def test_known_digits_may_be_off_by_their_slack_while_rewarded() -> None:
    obs = imitation_batch()["obs"]
    module = small(imitation_weight=0.5)
    joints = module.mean_joints(module.online.encoder(module.answered(transitions()["known"]["obs"])))
    digits = joints[2:, 4:10]  # those of hands that are known
    for slack in (0.1, 2.0):
        module.hparams["held_digits_slack"] = slack
        off = ((digits - 0.3).abs() - slack).clamp(min=0.0).square().mean()
        torch.testing.assert_close(kept(module, obs)["kept_digits"], 0.5 * 60.0 * off)
    assert float(off.detach()) == 0.0  # of 2 rad: nothing is that far off


def test_every_other_arm_is_where_the_actor_would_put_it() -> None:
    module, obs = small(), imitation_batch()["obs"]
    seen = module.answered(obs)
    size = obs.shape[2]
    assert torch.equal(seen[1::2], obs[1::2]) and torch.equal(seen[..., :size], obs[..., :size])
    joints = module.mean_joints(module.online.encoder(obs[::2])).detach()
    assert torch.equal(seen[::2, 0, :, size:], draw_masks(module.measured, joints, size))
    assert not torch.equal(seen, obs)


def kept(module: ArmSAC, obs: Tensor) -> dict[str, Tensor]:
    """What stays of the warm start."""
    shared = module.online.encoder(obs)
    return module.mean_losses(module.actor(shared)[0], shared) | module.auxiliary_losses(transitions(), shared)


def test_an_update_of_sac_holds_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmSAC, "logs_now", True)
    monkeypatch.setattr(ArmSAC, "global_step", 0)
    logged: dict[str, float] = {}
    monkeypatch.setattr(ArmSAC, "log", lambda self, name, value, **kwargs: logged.update({name: float(value)}))
    monkeypatch.setattr(ArmSAC, "log_dict", lambda self, terms: logged.update({k: float(v) for k, v in terms.items()}))
    losses = []
    for weight in (0.0, 0.5):
        module = small(gamma=0.0, learn_temperature=False, imitation_weight=weight, silhouette_weight=3.0)
        losses.append(module.training_step(transitions(), 0).detach())
    added = sum(logged[f"loss/kept_{name}"] for name in ("joints", "digits", "posture", "silhouette"))
    assert float(losses[1] - losses[0]) == pytest.approx(added, rel=1e-4)
    assert logged["train/reward"] == pytest.approx(1.0)  # 0, 1, 2; the last one was hindsight


class Settings:
    """A data module with nothing but settings."""

    def __init__(self, **env_kwargs: Any) -> None:
        self.env_kwargs = {"observe": "masks", "size": SIZE, **env_kwargs}
        self.datamodule = self


@pytest.mark.parametrize(
    ("env_kwargs", "message"),
    [
        ({"size": 56}, "the arm shows size=56: set --model.size=56"),
        ({"observe": "pictures"}, "the arm shows observe=pictures"),
        ({"action": "increments"}, "leave out data.env_kwargs.action=increments"),
        ({"mirror": True}, "leave out data.env_kwargs.mirror=True"),
        ({"urdf": "arm.urdf"}, "leave out data.env_kwargs.urdf=arm.urdf"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(env_kwargs: dict[str, Any], message: str) -> None:
    module = small()
    module._trainer = Settings()  # type: ignore[assignment]
    module.setup("fit")
    module._trainer = Settings(**env_kwargs)  # type: ignore[assignment]
    with pytest.raises(UserError, match=message):
        module.setup("fit")


def test_critics_learn_before_they_move_the_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmSAC, "logs_now", False)
    module = small(critic_updates_first=1)
    shared = module.online.encoder(imitation_batch()["obs"])
    for updates, moves in ((1, False), (2, True)):
        module.rewarded_updates.fill_(updates)
        terms = module.policy_losses(shared, module.online.trunk(shared).detach(), torch.tensor(0.1))
        assert ("actor" in terms) == moves


def test_samples_are_photographs_of_the_arm_that_imitates() -> None:
    module = small()
    images = module.sample(2, seed=3)
    assert images.shape == (2, 3, 64, 64) and 0.0 <= float(images.min()) < float(images.max()) <= 1.0
    assert torch.equal(images, module.sample(2, seed=3)) and not torch.equal(images, module.sample(2, seed=4))
    with pytest.raises(UserError, match="no sampler 'clay'"):
        module.sample(1, sampler="clay")


def test_actions_are_poses_within_the_joints_ranges() -> None:
    module = small()
    action = module.act(pictures(5))
    joints = joints_of(action)
    assert action.shape == (5, 12)
    assert bool((joints >= torch.tensor(LOW)).all()) and bool((joints <= torch.tensor(HIGH)).all())
    torch.testing.assert_close(module.act(pictures(5), deterministic=True), module.imitate(pictures(5)))


def test_mobilenet_is_as_large_as_published() -> None:
    network = MobileNetV2()
    assert sum(p.numel() for p in network.parameters()) == 2_223_872
    assert network(torch.rand(2, 3, 56, 112)).shape == (2, 1280)
    assert "features.0.0.weight" in network.state_dict() and "features.18.0.weight" in network.state_dict()


def test_weights_are_read_and_wrong_ones_named(tmp_path: Path) -> None:
    torch.manual_seed(3)
    weights = MobileNetV2().state_dict()
    path = tmp_path / "mobilenet.pt"
    torch.save({**weights, "classifier.1.bias": torch.zeros(1000)}, path)
    loaded = MobileNetV2(str(path)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())
    with pytest.raises(UserError, match="no weights file"):
        MobileNetV2(str(tmp_path / "nowhere.pt"))
    torch.save({"features.0.0.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"features\.0\.0\.weight is absent or wrong"):
        MobileNetV2(str(path))
    torch.save({"x": test_mobilenet_is_as_large_as_published}, path)
    with pytest.raises(UserError, match="cannot be loaded as plain weights"):
        MobileNetV2(str(path))


def test_a_random_trunk_is_blind_until_it_is_calibrated() -> None:
    torch.manual_seed(0)
    module, obs = ArmActorCritic(), pictures(2, 3, 32)
    blind = module.features(obs)
    assert float((blind[0] - blind[1]).abs().max()) < 1e-6
    module.calibrate(pictures(16, 3, 32))
    features, action = module.features(obs), module.act(obs, deterministic=True)
    assert float((features[0] - features[1]).abs().mean()) > 0.02
    assert float((action[0] - action[1]).abs().max()) > 1e-3
    statistics = {name: value.clone() for name, value in module.trunk.named_buffers()}
    module.train()
    torch.testing.assert_close(module.features(obs), features)  # a frozen trunk and its normalisation stay
    assert all(torch.equal(value, statistics[name]) for name, value in module.trunk.named_buffers())
    again = ArmActorCritic()
    again.load_state_dict(module.state_dict())
    assert bool(again.calibrated) and torch.equal(again.features(obs), features)


class Pictures:
    """A data module that counts how often it is asked for pictures."""

    def __init__(self) -> None:
        self.datamodule, self.asked = self, 0

    def pictures(self, count: int) -> Tensor:
        self.asked += 1
        return pictures(count, 3, 32)


def test_a_trunk_is_calibrated_once_and_never_with_weights_of_its_own(tmp_path: Path) -> None:
    torch.save(MobileNetV2().state_dict(), tmp_path / "mobilenet.pt")
    for weights, asked in ((None, 1), (str(tmp_path / "mobilenet.pt"), 0)):
        module, source = ArmActorCritic(weights), Pictures()
        module._trainer = source  # type: ignore[assignment]
        for _ in range(2):
            module.on_fit_start()
        assert source.asked == asked and bool(module.calibrated)


def test_a_trunk_that_learns_keeps_its_normalisation() -> None:
    torch.manual_seed(0)
    module = ArmActorCritic(freeze=False)
    module.calibrate(pictures(16, 3, 32))
    module.train()
    obs = pictures(2, 3, 32)
    torch.testing.assert_close(module.features(obs)[:1], module.features(obs[:1]), atol=1e-3, rtol=0.0)


def test_each_head_of_the_actor_critic_learns_from_its_own_loss() -> None:
    torch.manual_seed(0)
    module = ArmActorCritic()
    obs = pictures(2, 3, 32)
    log_prob = module.policy(module.features(obs)).log_prob(torch.zeros(2, 12)).sum()
    assert all(name.startswith("actor.") for name in moved(module, log_prob))
    assert all(name.startswith("critic.") for name in moved(module, module.critic(module.features(obs)).sum()))
    free = ArmActorCritic(freeze=False)
    log_prob = free.policy(free.features(obs)).log_prob(torch.zeros(2, 12)).sum()
    assert any(name.startswith("trunk.") for name in moved(free, log_prob))


def test_the_actor_critic_s_joints_are_clipped() -> None:
    torch.manual_seed(0)
    action = ArmActorCritic().act(pictures(8, 3, 32))
    assert float(action.abs().max()) <= 1.0 + 1e-6


def test_impossible_settings_are_named() -> None:
    with pytest.raises(UserError, match="reward_scale"):
        ArmActorCritic(reward_scale=0.0)
