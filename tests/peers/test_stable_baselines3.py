"""The peer's runs: the experiment's settings, our evaluation, records."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("stable_baselines3")

from handgen.errors import UserError
from handgen.peers import stable_baselines3 as peers
from handgen.results import read_records


@pytest.fixture
def task() -> peers.Task:
    """Two epochs of sixty steps of Pendulum."""
    task = peers.read_task("sac_pendulum")
    task.data.epoch_env_steps, task.data.warmup_decisions = 60, 50
    task.data.eval_episodes = task.data.test_episodes = 2
    return dataclasses.replace(task, epochs=2)


def test_a_run_leaves_records_that_pair_with_ours(task: peers.Task, tmp_path: Path) -> None:
    folder = peers.run(task, 3, tmp_path, "command")
    first, final = read_records(folder / "result.json")
    assert (first.metric, final.metric) == ("return@110", "return@170")
    assert (final.experiment, final.dataset, final.variant) == ("sac_pendulum", "Pendulum-v1", "stable_baselines3")
    assert (final.seeds, final.env_steps, final.n) == ([3], 170, 2)


def test_settings_are_those_of_the_experiment(task: peers.Task, monkeypatch: pytest.MonkeyPatch) -> None:
    import stable_baselines3

    given: dict[str, Any] = {}

    class Spy(stable_baselines3.SAC):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            given.update(copy.deepcopy(kwargs))  # the peer adds to them
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(stable_baselines3, "SAC", Spy)
    peers.train_peer(task, seed=1)
    assert (given["learning_rate"], given["batch_size"], given["learning_starts"]) == (1e-3, 256, 50)
    assert (given["gamma"], given["tau"], given["policy_kwargs"]) == (0.99, 0.005, {"net_arch": [256, 256]})


def test_its_actions_come_in_our_scale() -> None:
    from stable_baselines3 import SAC

    peer = SAC("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8]}, device="cpu")
    obs = torch.randn(5, 3)
    action, _ = peer.predict(obs.numpy(), deterministic=True)
    ours = peers.PeerAgent(peer).act(obs, deterministic=True)
    torch.testing.assert_close(2.0 * ours, torch.as_tensor(action))


def test_other_experiments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no experiment"):
        peers.read_task("vae")
    assert peers.main(["vae"]) == 2
    assert "no experiment of" in capsys.readouterr().err
