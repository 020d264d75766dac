"""The SAC module: targets, gradients, updates, resuming, learning."""

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from toy_agent import echo_data, make_trainer, tiny_agent, toy_batch

from handgen.callbacks.env_steps import EnvSteps
from handgen.callbacks.return_curve import ReturnCurve
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.datamodules.evaluation_episodes import play_episodes
from handgen.errors import UserError
from handgen.sac import SAC, losses

FORMS: dict[str, dict[str, Any]] = {
    "sac": {},
    "v1": {"value_loss": "squared", "bootstrap": "value"},
    "seed": {"variant": "seed"},
    "min_actions": {"target_minimum": "actions"},
    "undiscounted": {"entropy_bonus": "undiscounted"},
    "kl": {"value_loss": "kl", "bootstrap": "value"},
    "additive": {"temperature_step": "additive"},
    "printed_sign": {"temperature_sign": "printed"},
}


@pytest.fixture(autouse=True)
def _logs_without_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """`training_step` is also called here without a trainer."""
    logs_now = SAC.logs_now.fget
    assert logs_now is not None
    monkeypatch.setattr(SAC, "logs_now", property(lambda self: self._trainer is not None and logs_now(self)))


def gradients(agent: SAC, batch: dict[str, Any] | None = None) -> dict[str, float]:
    """Sum of the absolute gradient of each trained parameter after one backward pass; absent where there is none."""
    agent.zero_grad()
    agent.training_step(batch or toy_batch(), 0).backward()
    return {name: p.grad.abs().sum().item() for name, p in agent.named_parameters() if p.grad is not None}


def test_act_shapes_and_modes() -> None:
    agent = tiny_agent()
    obs = torch.randn(5, 2)
    assert agent.act(obs).shape == (5, 2)
    assert torch.equal(agent.act(obs, deterministic=True), agent(obs))
    assert not agent.act(obs).requires_grad


def test_gradients_reach_actor_critics_and_temperature_and_no_target() -> None:
    found = gradients(tiny_agent())
    assert all(value > 0 for value in found.values())
    trained = {name for name, p in tiny_agent().named_parameters() if p.requires_grad}
    assert set(found) == trained
    assert {name.split(".")[0] for name in trained} == {"actor", "online", "temperature"}


def test_each_term_moves_its_own_parameters_only() -> None:
    agent, batch = tiny_agent(), toy_batch()
    features, alpha = agent.online.encoder(batch["obs"]), agent.temperature.value
    policy = agent.policy_losses(features, features, alpha)
    critic = losses.critic_loss(agent.online.critics(features, batch["action"]), agent.td_target(batch, alpha))
    for term, owner in ((policy["actor"], "actor"), (policy["temperature"], "temperature"), (critic, "online")):
        agent.zero_grad()
        term.backward()
        moved = {name.split(".")[0] for name, p in agent.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {owner}


def test_no_gradient_reaches_a_value_network_through_printed_equation_2() -> None:
    agent = tiny_agent(value_loss="kl")
    assert not any("value" in name for name in gradients(agent))
    assert any("value" in name for name in gradients(tiny_agent(value_loss="squared")))


def test_td_target_on_known_networks() -> None:
    """With constant target critics 3 and 5 and a known policy the target can be worked by hand."""
    agent, batch = tiny_agent(gamma=0.5, initial_temperature=0.1), toy_batch(rows=4, n_step=2)
    for parameter in agent.target.critics.parameters():
        parameter.data.zero_()
    agent.target.critics.layers[-1].bias.data[:, 0, 0] = torch.tensor([5.0, 3.0])  # type: ignore[index, union-attr]
    batch["counted"][1, 1] = False
    torch.manual_seed(3)
    target = agent.td_target(batch, torch.tensor(0.1))
    torch.manual_seed(3)
    _, log_prob = agent.actor.sample(batch["next_obs"])
    r = batch["reward"]
    soft = 3.0 - 0.1 * log_prob.detach()
    assert target[0] == pytest.approx(float(r[0, 0] + 0.5 * r[0, 1]))  # terminated
    assert target[1] == pytest.approx(float(r[1, 0] + 0.5 * soft[1]), rel=1e-5)  # the episode had one more reward only
    assert target[2] == pytest.approx(float(r[2, 0] + 0.5 * r[2, 1] + 0.25 * soft[2]), rel=1e-5)


def test_a_bandit_bootstraps_from_nothing() -> None:
    batch = toy_batch()
    assert torch.equal(tiny_agent(gamma=0.0).td_target(batch, torch.tensor(0.1)), batch["reward"][:, 0])


def test_minimum_over_more_actions_is_lower() -> None:
    torch.manual_seed(0)
    agent, batch = tiny_agent(target_minimum="actions"), toy_batch(rows=256)
    means = []
    for count in (1, 2, 30):
        agent.hparams["target_actions"] = count
        means.append(agent.next_values(batch["next_obs"], batch["next_obs"])[0].mean().item())
    assert means[0] > means[1] > means[2]


@pytest.mark.parametrize("form", FORMS)
def test_one_update_changes_what_it_should(form: str, tmp_path: Path) -> None:
    agent = tiny_agent(**FORMS[form])
    before = copy.deepcopy(agent.state_dict())
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(agent, echo_data())
    assert trainer.global_step == 1
    changed = {name for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    expected = {name for name in before if not (form in ("kl", "seed") and ".value." in name)}
    assert changed == expected
    assert all(value.isfinite().all() for value in agent.state_dict().values())


def test_targets_follow_the_formula_and_the_temperature_its_group(tmp_path: Path) -> None:
    agent = tiny_agent(tau=0.1, lr=1e-2, temperature_lr=1e-4)
    start = copy.deepcopy(agent)
    make_trainer(tmp_path, max_steps=1).fit(agent, echo_data())
    for new, old, online in zip(
        agent.target.parameters(), start.target.parameters(), agent.online.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online)
    moved = (agent.temperature.log_alpha - start.temperature.log_alpha).abs().item()
    assert moved == pytest.approx(1e-4, rel=1e-2)  # Adam's first step is the learning rate
    assert [group["name"] for group in agent.parameter_groups()] == ["actor", "critic", "temperature"]


def test_the_mean_actor_follows_the_formula_and_acts_for_the_mean_action_alone(tmp_path: Path) -> None:
    agent = tiny_agent(mean_actor_tau=0.1, lr=1e-2)
    obs = torch.randn(5, 2)
    assert agent.mean_actor is not None and not any(p.requires_grad for p in agent.mean_actor.parameters())
    actors = []

    def record(self: SAC, *args: Any, **kwargs: Any) -> None:
        SAC.optimizer_step(self, *args, **kwargs)
        actors.append(self.actor.net[0].weight.detach().clone())

    agent.optimizer_step = record.__get__(agent)  # type: ignore[method-assign]
    make_trainer(tmp_path, max_steps=12).fit(agent, echo_data())
    mean = torch.stack(actors[:10]).mean(0)  # the weights that were drawn are no part of it
    for actor in actors[10:]:
        mean = 0.9 * mean + 0.1 * actor
    torch.testing.assert_close(agent.mean_actor.net[0].weight, mean)
    torch.testing.assert_close(agent(obs), agent.mean_actor.act(obs, deterministic=True))
    assert not torch.allclose(agent(obs), agent.actor.act(obs, deterministic=True))
    torch.manual_seed(0)
    sampled = agent.act(obs)
    torch.manual_seed(0)
    torch.testing.assert_close(sampled, agent.actor.act(obs))


def test_delayed_actor_and_targets(tmp_path: Path) -> None:
    agent = tiny_agent(actor_every_updates=2, target_every_updates=2)
    actors, targets = [], []

    def record(self: SAC, *args: Any, **kwargs: Any) -> None:
        SAC.optimizer_step(self, *args, **kwargs)
        actors.append(self.actor.net[0].weight.detach().clone())
        targets.append(self.target.critics.layers[0].weight.detach().clone())

    agent.optimizer_step = record.__get__(agent)  # type: ignore[method-assign]
    make_trainer(tmp_path, max_steps=4).fit(agent, echo_data())
    assert [torch.equal(a, b) for a, b in pairwise(actors)] == [True, False, True]
    assert [torch.equal(a, b) for a, b in pairwise(targets)] == [True, False, True]


def test_a_reset_draws_the_heads_anew_once_and_leaves_encoder_and_temperature(tmp_path: Path) -> None:
    settings = {"mean_actor_tau": 0.1, "target_every_updates": 1000, "lr": 1e-9, **FORMS["v1"]}
    agent = tiny_agent(encoder=Shift(), resets_env_steps=[23], **settings)
    start = copy.deepcopy(agent)
    source = echo_data()
    make_trainer(tmp_path, max_steps=6).fit(agent, source)
    assert source.env_steps >= 23
    weights, moments = [part.state_dict() for part in agent.heads], agent.optimizers().state  # type: ignore[union-attr]
    for part, before in zip(weights, start.heads, strict=True):
        assert not any(torch.equal(part[name], value) for name, value in before.state_dict().items())
    torch.testing.assert_close(agent.online.encoder.layer.weight, start.online.encoder.layer.weight)
    torch.testing.assert_close(agent.temperature.value, start.temperature.value)
    for copied, original in ((agent.target.critics, agent.online.critics), (agent.mean_actor, agent.actor)):
        for one, other in zip(copied.parameters(), original.parameters(), strict=True):
            torch.testing.assert_close(one, other)
    steps = {name: float(moments[p]["step"]) for name, p in agent.named_parameters() if p in moments}
    assert (steps["actor.net.0.weight"], steps["temperature.log_alpha"]) == (3, 6)
    with pytest.raises(UserError, match="in order"):
        tiny_agent(resets_env_steps=[20, 10])


def test_a_fixed_temperature_stays(tmp_path: Path) -> None:
    agent = tiny_agent(learn_temperature=False, initial_temperature=0.2)
    make_trainer(tmp_path).fit(agent, echo_data())
    assert agent.temperature.value.item() == pytest.approx(0.2)


class Shift(torch.nn.Module):
    """An encoder from two numbers to three features, or a trunk from some to three."""

    feature_dim = 3

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(width, 3)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        return self.layer(obs)


def test_an_encoder_is_trained_by_the_critics_alone() -> None:
    agent, batch = tiny_agent(encoder=Shift()), toy_batch()
    assert agent.act(batch["obs"]).shape == (8, 2)
    assert gradients(agent)["online.encoder.layer.weight"] > 0
    agent.zero_grad()
    features = agent.online.encoder(batch["obs"])
    fixed = features.detach()
    sum(agent.policy_losses(fixed, fixed, agent.temperature.value).values()).backward()
    assert agent.online.encoder.layer.weight.grad is None


def test_actor_and_critics_train_a_trunk_each(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, batch = tiny_agent(encoder=Shift(), trunk=lambda: Shift(width=3)), toy_batch()
    assert agent.act(batch["obs"]).shape == (8, 2)
    own, critics_own = "actor.trunk.layer.weight", "online.trunk.layer.weight"
    with monkeypatch.context() as without_actor:
        without_actor.setattr(SAC, "policy_losses", lambda *arguments: {})
        found = gradients(agent, batch)
    assert found[critics_own] > 0
    assert own not in found
    agent.zero_grad()
    shared = agent.online.encoder(batch["obs"]).detach()
    features = agent.online.trunk(shared).detach()
    sum(agent.policy_losses(shared, features, agent.temperature.value).values()).backward()
    assert agent.actor.trunk.layer.weight.grad.norm() > 0
    assert agent.online.trunk.layer.weight.grad is None


def test_auxiliary_losses_join_the_sum() -> None:
    class Reconstructing(SAC):
        def auxiliary_losses(self, batch: dict[str, Any], shared: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"recon": 1e3 * shared.square().mean()}

    torch.manual_seed(0)
    plain = SAC(2, 2, (16, 16), encoder=Shift())
    other = Reconstructing(2, 2, (16, 16), encoder=Shift())
    other.load_state_dict(plain.state_dict())
    weight = "online.encoder.layer.weight"
    assert gradients(other)[weight] > 10 * gradients(plain)[weight]


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gamma"):
        tiny_agent(gamma=1.5)
    with pytest.raises(UserError, match=r"model\.action_dim=2"):
        make_trainer(tmp_path).fit(tiny_agent(action_dim=1), echo_data())


def run(folder: Path, epochs: int, checkpoint: Path | None = None, seed: int = 3, **data: Any) -> dict[str, Any]:
    """Train the toy agent; weights, replay and learning curve."""
    torch.manual_seed(seed)
    agent, source, curve = tiny_agent(), echo_data(num_envs=2, n_step=2, **data), ReturnCurve(["train/temperature"])
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=7, save_top_k=-1)
    trainer = make_trainer(
        folder,
        max_epochs=epochs,
        enable_checkpointing=True,
        callbacks=[TorchRandomState(), EnvSteps(), curve, saver],
    )
    trainer.fit(agent, source, ckpt_path=checkpoint, weights_only=True)
    weights = {f"agent {name}": value for name, value in agent.state_dict().items()}
    curve_points = torch.cat([point["returns"] for point in curve.points])
    return {**weights, **{f"replay {k}": v for k, v in source.replay.columns.items()}, "curve": curve_points}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_not(tmp_path: Path) -> None:
    first = run(tmp_path / "a", 2)
    assert same(first, run(tmp_path / "b", 2))
    assert not same(first, run(tmp_path / "c", 2, seed=4))
    assert not same(first, run(tmp_path / "d", 2, **{"seed": 6}))


@pytest.mark.parametrize("step", [7, 28, 35])  # in the first, second and third epoch of fifteen updates
def test_resuming_is_exact(tmp_path: Path, step: int) -> None:
    straight = run(tmp_path, 3)
    resumed = run(tmp_path / "resumed", 3, checkpoint=tmp_path / f"step={step}.ckpt", seed=99)
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize("form", ["sac", "v1"])
def test_learns_the_toy_world(form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    agent = tiny_agent(hidden_dims=(32, 32), lr=3e-3, gamma=0.5, tau=0.02, **FORMS[form])
    source = echo_data(
        batch_size=64, replay_capacity_transitions=5000, warmup_decisions=200, epoch_env_steps=500, eval_episodes=20
    )
    random_return = play_random(source)
    make_trainer(tmp_path, limit_val_batches=0).fit(agent, source)
    returns = play_episodes(source.make_envs(20), agent, list(range(20)))["episode_return"]
    assert random_return < -4.0
    assert returns.mean() > -0.5


def play_random(source: Any) -> float:
    """Mean return of uniformly random actions."""

    class Dice:
        device = torch.device("cpu")

        def act(self, obs: torch.Tensor, deterministic: bool = False) -> torch.Tensor:
            return torch.rand(len(obs), 2) * 2 - 1

    episodes = play_episodes(source.make_envs(50), Dice(), list(range(50)))
    return float(episodes["episode_return"].mean())
