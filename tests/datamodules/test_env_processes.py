"""Environments in other processes do what they do in this one, and their ends are noticed."""

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from handgen.datamodules.env_processes import EnvProcesses, shares
from handgen.datamodules.envs import GymEnvs
from handgen.errors import UserError

ECHO = "toy_agent:handgen-tests/Echo-v0"  # a worker has to import the module that registers it
FIELDS = ("obs", "next_obs", "reward", "terminated", "truncated")

pytest.importorskip("gymnasium")


def actions(count: int, num_envs: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(num_envs, 2, generator=generator) * 2 - 1 for _ in range(count)]


@pytest.fixture
def envs() -> Iterator[EnvProcesses]:
    """Three environments in two processes."""
    made = EnvProcesses(ECHO, num_envs=3, num_processes=2)
    yield made
    made.close()


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it for a while."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_shares_are_about_equal() -> None:
    assert list(shares(7, 3)) == [slice(0, 3), slice(3, 5), slice(5, 7)]
    assert list(shares(2, 2)) == [slice(0, 1), slice(1, 2)]


def test_the_same_episodes_as_in_this_process(envs: EnvProcesses, tmp_path: Path) -> None:
    here = GymEnvs(ECHO, 3)
    assert (envs.obs_shape, envs.action_dim, envs.obs_dtype) == (here.obs_shape, here.action_dim, here.obs_dtype)
    assert torch.equal(envs.reset([1, 2, 3]), here.reset([1, 2, 3]))
    steps = []
    for action in actions(13, 3):
        there, own = envs.step(action), here.step(action)
        steps.append((there, own))
    for there, own in steps:  # afterwards, so that a later step has not overwritten an earlier one
        for name in FIELDS:
            torch.testing.assert_close(getattr(there, name), getattr(own, name), msg=name)
    assert torch.equal(envs.reset(), here.reset())

    # Saved here and resumed there, and the other way round.
    torch.save(here.state_dict(), tmp_path / "here")
    torch.save(envs.state_dict(), tmp_path / "there")
    obs = here.load_state_dict(torch.load(tmp_path / "there", weights_only=True))
    assert torch.equal(envs.load_state_dict(torch.load(tmp_path / "here", weights_only=True)), obs)
    for action in actions(7, 3, seed=1):
        assert torch.equal(envs.step(action).obs, here.step(action).obs)
    with pytest.raises(UserError, match="num_envs"):
        envs.load_state_dict({"began": [{}], "taken": [torch.empty(0, 2)]})


def test_a_worker_that_dies_is_named(envs: EnvProcesses) -> None:
    envs.reset([1, 2, 3])
    os.kill(envs.workers[1].process.pid, signal.SIGKILL)
    assert gone(envs.workers[1].process.pid)
    with pytest.raises(UserError, match=r"environment process 2 was killed by signal 9.*memory") as caught:
        envs.step(torch.zeros(3, 2))
    assert "\n" not in str(caught.value)


def test_what_an_environment_complains_about_arrives() -> None:
    with pytest.raises(UserError, match="cannot make the environment 'NoSuchWorld-v0'"):
        EnvProcesses("NoSuchWorld-v0", 1, 1)
    with pytest.raises(UserError, match="num_processes"):
        EnvProcesses(ECHO, 1, 0)


def test_errors_inside_a_worker_name_it(envs: EnvProcesses) -> None:
    with pytest.raises(UserError, match=r"environment process 1.*ResetNeeded"):
        envs.step(torch.zeros(3, 2))


def test_workers_end_with_their_envs() -> None:
    made = EnvProcesses(ECHO, num_envs=1, num_processes=5)
    assert len(made.workers) == 1
    pid = made.workers[0].process.pid
    del made
    gc.collect()
    assert gone(pid)


def orphan(env_kwargs: dict[str, Any]) -> None:
    """Make workers, tell their ids, and die without a farewell."""
    made = EnvProcesses(ECHO, 2, 2, env_kwargs=env_kwargs)
    Path(os.environ["PIDS"]).write_text(" ".join(str(worker.process.pid) for worker in made.workers))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "from test_env_processes import orphan\nif __name__ == '__main__': orphan({})\n"
    (tmp_path / "orphan.py").write_text(program)
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here, here.parent)))
    environment = {**os.environ, "PIDS": str(tmp_path / "pids"), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, tmp_path / "orphan.py"], env=environment, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2 and all(gone(pid) for pid in pids)
