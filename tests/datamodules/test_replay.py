"""The loop of acting and learning: budgets, warm-up, time limits, evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_agent import DATA, ENV_ID, echo_data, make_trainer, tiny_agent

from handgen.datamodules.evaluation_episodes import play_episodes
from handgen.datamodules.replay import ReplayDataModule
from handgen.errors import UserError


class Repeat:
    """Acts by repeating what it sees, which is right in the toy world."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        self.calls.append(deterministic)
        return obs


def ready(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[ReplayDataModule, Repeat]:
    """A data module in the hands of an agent that repeats."""
    data, agent = echo_data(**settings), Repeat()
    monkeypatch.setattr(ReplayDataModule, "agent", property(lambda self: agent))
    data.setup("fit")
    return data, agent


def test_an_epoch_takes_its_environment_steps_after_the_random_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    data, agent = ready(monkeypatch)
    loader = data.train_dataloader()
    assert len(loader) == 30
    batches = list(loader)
    assert [batch["env_steps"] for batch in batches] == list(range(21, 51))  # one decision before each update
    assert len(agent.calls) == 30
    assert not any(agent.calls)
    assert len(data.replay) == data.decisions == data.env_steps == 50
    warm = data.replay.columns["reward"][:20].mean()
    learnt = data.replay.columns["reward"][20:50]
    assert warm < -1.0
    assert learnt.abs().max() < 1e-8


@pytest.mark.parametrize(
    ("settings", "updates", "decisions"),
    [
        ({"updates_per_decision": 0.5}, 15, 30),
        ({"updates_per_decision": 3.0}, 90, 30),
        ({"num_envs": 5}, 30, 30),
        ({"action_repeat": 2}, 15, 15),
    ],
)
def test_ratios_of_updates_to_decisions(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], updates: int, decisions: int
) -> None:
    data, _ = ready(monkeypatch, **settings)
    assert len(list(data.train_dataloader())) == updates
    assert data.decisions == 20 + decisions
    assert data.env_steps == data.decisions * settings.get("action_repeat", 1)


def test_catching_up_takes_the_updates_of_the_warm_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = ready(monkeypatch, catch_up=True)
    batches = iter(data.train_dataloader())
    seen = [next(batches)["env_steps"] for _ in range(21)]
    assert seen == [20] * 20 + [21]  # twenty random decisions, as many updates, then the first decision of the agent
    assert len(list(batches)) == 9
    assert data.decisions == data.updates == 30


def test_time_limits_are_stored_apart_from_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = ready(monkeypatch, warmup_decisions=150)
    list(data.train_dataloader())
    columns = {name: column[:180, 0] for name, column in data.replay.columns.items()}
    assert columns["truncated"].any()
    assert columns["terminated"].any()
    assert not (columns["truncated"] & columns["terminated"]).any()
    ended = columns["truncated"] | columns["terminated"]
    # Within an episode one transition leads to the next; over its end it does not.
    follows = (columns["next_obs"][:-1] == columns["obs"][1:]).all(1)
    assert torch.equal(follows, ~ended[:-1])


def test_returns_of_training_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = ready(monkeypatch, warmup_decisions=50)
    list(data.train_dataloader())
    finished = data.pop_finished_returns()
    assert len(finished) >= 16
    assert finished[-1] == pytest.approx(0.0, abs=1e-6)
    assert min(finished) < -1.0
    assert data.pop_finished_returns() == []


def test_evaluation_has_its_own_environments_the_mean_action_and_fixed_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    data, agent = ready(monkeypatch)
    before = data.state_dict()["processes"][0]["envs"]
    loader = data.val_dataloader()
    (first,), (second,) = list(loader), list(loader)
    assert all(agent.calls)
    assert first["episode_length"].tolist() == [5, 5]
    assert torch.equal(first["episode_return"], second["episode_return"])
    assert str(data.state_dict()["processes"][0]["envs"]) == str(before)
    assert not set(data.val_dataloader().seeds) & set(data.test_dataloader().seeds)


def test_episodes_of_different_lengths_count_to_their_own_end() -> None:
    class Wrong(Repeat):
        def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
            return -obs.sign()

    episodes = play_episodes(echo_data().make_envs(30), Wrong(), list(range(30)))
    lengths = episodes["episode_length"]
    assert lengths.min() < 5
    assert lengths.max() == 5
    alone = [play_episodes(echo_data().make_envs(1), Wrong(), [seed])["episode_return"] for seed in range(30)]
    torch.testing.assert_close(episodes["episode_return"], torch.cat(alone))


def test_the_seed_decides_and_none_takes_that_of_the_run() -> None:
    torch.manual_seed(11)
    assert ReplayDataModule(ENV_ID, **{**DATA, "seed": None}).seed == 11
    observations = []
    for seed in (1, 1, 2):
        data = echo_data(seed=seed)
        data.setup("fit")
        observations.append(data._obs)
    assert torch.equal(observations[0], observations[1])
    assert not torch.equal(observations[0], observations[2])


def test_an_agent_of_images_is_refused_by_a_world_of_numbers(tmp_path: Path) -> None:
    from handgen.pixels.module import PixelSAC

    agent = PixelSAC(action_dim=1, image_size=24, strides=[2, 2])
    with pytest.raises(UserError, match="shows vectors, and PixelSAC sees images"):
        make_trainer(tmp_path).fit(agent, echo_data())


def test_loading_another_number_of_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = ready(monkeypatch)
    with pytest.raises(UserError, match="2 processes"):
        data.load_state_dict({"processes": [{}, {}]})
    monkeypatch.setattr(ReplayDataModule, "processes", 3)
    with pytest.raises(UserError, match="shared by"):
        data.val_dataloader()


@pytest.mark.integration
def test_two_processes_learn_together_from_their_own_environments(tmp_path: Path) -> None:
    from lightning.pytorch.strategies import DDPStrategy

    agent, data = tiny_agent(), echo_data()
    trainer = make_trainer(
        tmp_path, devices=2, strategy=DDPStrategy(start_method="fork"), enable_checkpointing=True, max_epochs=2
    )
    trainer.fit(agent, data)
    checkpoint = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)  # type: ignore[union-attr]
    first, second = checkpoint["ReplayDataModule"]["processes"]
    assert first["decisions"] == second["decisions"] == 20 + 30  # each epoch's 30 environment steps are shared
    assert not torch.equal(first["replay"]["columns"]["obs"], second["replay"]["columns"]["obs"])
    assert checkpoint["state_dict"]["env_steps"].item() == 100
