"""Environments in processes of their own: rendering uses all cores, and frames travel through shared memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from handgen.datamodules.envs import EnvKwargs, GymEnvs, Step
from handgen.errors import UserError


@dataclass(frozen=True)
class Sizes:
    """What a worker's environments look like; see `handgen.datamodules.envs.Envs`."""

    obs_shape: tuple[int, ...]
    obs_dtype: torch.dtype
    action_dim: int
    frame_stack: int
    env_steps_per_decision: int


@dataclass(frozen=True)
class Worker:
    """A process, its end of the line, and which environments it runs."""

    process: Any
    line: Any
    envs: slice

    @property
    def count(self) -> int:
        """How many they are."""
        return int(self.envs.stop - self.envs.start)


class EnvProcesses:
    """Gymnasium environments spread over processes; the same episodes as in `GymEnvs`, and the same saved state.

    Each process runs its share one after the other, all processes at the same time. They start fresh (no OpenGL context
    or lock is inherited) and end with this one, whatever happens to it.

    Args:
        env_id: registered id; one that handgen does not register needs its module, ``module:id``.
        num_envs: N.
        num_processes: processes, at most N are used.
        action_repeat: times that each action is taken; rewards are summed.
        env_kwargs: arguments of ``gymnasium.make``, or a list with those of each.

    Raises:
        UserError: as `GymEnvs` does, and, by any method, if a process dies.
    """

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        num_processes: int,
        action_repeat: int = 1,
        env_kwargs: EnvKwargs | None = None,
    ) -> None:
        if num_processes < 1:
            raise UserError(f"num_processes must be at least 1, not {num_processes}")
        self.num_envs, self.device = num_envs, torch.device("cpu")
        self.workers = [
            start_worker(f"environment process {place + 1}", share, env_id, action_repeat, env_kwargs or {})
            for place, share in enumerate(shares(num_envs, min(num_processes, num_envs)))
        ]
        sizes: Sizes = self._answers()[0]
        self.obs_shape, self.obs_dtype, self.action_dim = sizes.obs_shape, sizes.obs_dtype, sizes.action_dim
        self.frame_stack, self.env_steps_per_decision = sizes.frame_stack, sizes.env_steps_per_decision
        self.shared = shared_memory(num_envs, sizes)
        for worker in self.workers:
            self._tell(worker, "share", {name: tensor[worker.envs] for name, tensor in self.shared.items()})
        self._answers()

    def reset(self, seeds: list[int] | None = None) -> Tensor:
        """Start an episode in each.

        Args:
            seeds: one for each; None goes on with their random states.
        """
        for worker in self.workers:
            self._tell(worker, "reset", seeds[worker.envs] if seeds is not None else None)
        self._answers()
        return self.shared["obs"].clone()

    def step(self, action: Tensor) -> Step:
        """Take one action in each environment.

        Args:
            action: (N, A) in [-1, 1].
        """
        self.shared["action"].copy_(action)
        for worker in self.workers:
            self._tell(worker, "step")
        self._answers()
        # Copies, as the next step writes into the same memory.
        reward, terminated, truncated = (self.shared[name].clone() for name in ("reward", "terminated", "truncated"))
        next_obs = self.shared["next_obs"].clone()
        obs = self.shared["obs"].clone() if (terminated | truncated).any() else next_obs
        return Step(obs, next_obs, reward, terminated, truncated)

    def state_dict(self) -> dict[str, Any]:
        """As `GymEnvs.state_dict`: it can be resumed with any number of processes."""
        for worker in self.workers:
            self._tell(worker, "state_dict")
        states = self._answers()
        return {name: [entry for state in states for entry in state[name]] for name in ("began", "taken")}

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """As `GymEnvs.load_state_dict`.

        Raises:
            UserError: if there were another number of environments.
        """
        if len(state["began"]) != self.num_envs:
            raise UserError(
                f"the checkpoint holds {len(state['began'])} environments, data.num_envs is {self.num_envs}"
            )
        for worker in self.workers:
            self._tell(worker, "load_state_dict", {name: state[name][worker.envs] for name in ("began", "taken")})
        self._answers()
        return self.shared["obs"].clone()

    def close(self) -> None:
        """End the processes; they end too when this object is gone."""
        for worker in self.workers:
            worker.line.close()
        for worker in self.workers:
            worker.process.join()

    def _tell(self, worker: Worker, command: str, argument: Any = None) -> None:
        """Ask a worker for something."""
        try:
            worker.line.send((command, argument))
        except OSError as error:
            raise self._death(worker) from error

    def _answers(self) -> list[Any]:
        """Wait for all."""
        return [self._answer(worker) for worker in self.workers]

    def _answer(self, worker: Worker) -> Any:
        """Wait for one."""
        try:
            answer, complaint = worker.line.recv()
        except (EOFError, OSError) as error:
            raise self._death(worker) from error
        if complaint:
            raise UserError(complaint)
        return answer

    @staticmethod
    def _death(worker: Worker) -> UserError:
        """What to say of a worker that is gone."""
        worker.process.join(5)
        code = worker.process.exitcode
        how = f"was killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
        memory = " (out of memory? lower num_envs)" if code == -signal.SIGKILL else ""
        return UserError(f"{worker.process.name} {how}{memory}; --ckpt_path=last goes on from the last checkpoint")


def shares(count: int, parts: int) -> Iterator[slice]:
    """Consecutive runs of about equal length, the longer ones first."""
    start = 0
    for place in range(parts):
        stop = start + count // parts + (place < count % parts)
        yield slice(start, stop)
        start = stop


def shared_memory(num_envs: int, sizes: Sizes) -> dict[str, Tensor]:
    """What both sides write and read: actions one way, everything in `Step` the other, each (N, ...)."""
    kinds = {
        "action": ((sizes.action_dim,), torch.float32),
        "obs": (sizes.obs_shape, sizes.obs_dtype),
        "next_obs": (sizes.obs_shape, sizes.obs_dtype),
        "reward": ((), torch.float32),
        "terminated": ((), torch.bool),
        "truncated": ((), torch.bool),
    }
    return {name: torch.zeros(num_envs, *shape, dtype=dtype).share_memory_() for name, (shape, dtype) in kinds.items()}


def start_worker(name: str, share: slice, env_id: str, action_repeat: int, env_kwargs: EnvKwargs) -> Worker:
    """Start a process for some of the environments."""
    own = env_kwargs[share] if isinstance(env_kwargs, list) else env_kwargs
    # A server that has imported the package once and nothing else forks off the workers: a clean start for each of
    # them, at the cost of one.
    methods = mp.get_all_start_methods()
    context: Any = mp.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe()
    arguments = (theirs, env_id, share.stop - share.start, action_repeat, own)
    process = context.Process(target=work, args=arguments, name=name, daemon=True)
    process.start()
    theirs.close()  # so that the line breaks when the worker ends
    return Worker(process, ours, share)


def work(line: Any, env_id: str, count: int, action_repeat: int, env_kwargs: EnvKwargs) -> None:
    """A worker's life: make the environments, then answer until the line is closed.

    Args:
        line: receives (command, argument), sends (answer, complaint).
        env_id: see `EnvProcesses`, as all others.
        count: environments of this worker.
        action_repeat: times that each action is taken.
        env_kwargs: arguments of ``gymnasium.make``, or a list with those of each.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which then closes the line
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's own threads would fight over the cores
    torch.set_num_threads(1)
    try:
        envs = GymEnvs(env_id, count, action_repeat, env_kwargs)
        sizes = Sizes(envs.obs_shape, envs.obs_dtype, envs.action_dim, envs.frame_stack, envs.env_steps_per_decision)
        line.send((sizes, ""))
        _, shared = line.recv()
        line.send((None, ""))
        while True:
            command, argument = line.recv()
            line.send((obey(envs, shared, command, argument), ""))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the trainer has closed the line, or is gone
    except UserError as error:
        line.send((None, str(error)))
    except Exception as error:  # whatever an environment raises has to be said where it can be read
        line.send((None, f"{mp.current_process().name}, {env_id}: {type(error).__name__}: {error}"))


def obey(envs: GymEnvs, shared: dict[str, Tensor], command: str, argument: Any) -> Any:
    """Carry out a command; observations and the like go into the shared memory.

    Args:
        envs: the worker's environments.
        shared: its part of `shared_memory`.
        command: ``reset``, ``step``, ``state_dict`` or ``load_state_dict``.
        argument: of the method of that name; that of ``step`` is in the shared memory.

    Returns:
        What goes back through the line.
    """
    if command == "state_dict":
        return envs.state_dict()
    if command == "step":
        step = envs.step(shared["action"].clone())  # the running episode's actions are remembered
        for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
            shared[name].copy_(getattr(step, name))
    else:
        shared["obs"].copy_(envs.reset(argument) if command == "reset" else envs.load_state_dict(argument))
    return None
