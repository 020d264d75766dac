"""Experience of an agent: environments, a replay buffer, and the loop that fills it while the agent learns.

Words, once: a *decision* is one action of one environment; an *environment step* is one step of the simulator, so a
decision makes as many of them as its action is repeated; an *update* is one step of the optimiser on one batch. An
epoch is ``epoch_env_steps`` environment steps, over all environments and processes. The random decisions that fill the
replay before the first update come on top, unless the updates catch up with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from handgen.datamodules.env_processes import EnvProcesses
from handgen.datamodules.envs import Envs, GymEnvs, Step
from handgen.datamodules.evaluation_episodes import Agent, EvaluationEpisodes
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.datamodules.replay_buffer import Batch, ReplayBuffer
from handgen.errors import UserError, check_ranges
from handgen.processes import gathered


class MakesBatches(Protocol):
    """What makes batches one at a time."""

    def next_batch(self) -> dict[str, Any]:
        """Make the next one."""
        ...


class Experience:
    """The batches of one epoch; drawing one takes the decisions that are due before it.

    It has a length, so that Lightning draws a batch only when it is needed, and the policy that acts is the newest.

    Args:
        source: the data module.
        updates: of the epoch.
    """

    def __init__(self, source: MakesBatches, updates: int) -> None:
        self.source, self.updates = source, updates

    def __len__(self) -> int:
        """Return the updates of the epoch."""
        return self.updates

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield whole batches."""
        for _ in range(len(self)):
            yield self.source.next_batch()


class ReplayDataModule(LightningDataModule):
    """An environment, a replay buffer and their random states; resuming is exact.

    A batch holds what `ReplayBuffer.sample` returns, ``env_steps`` and ``decisions`` (of this process). Evaluation uses
    environments of its own, the mean action and fixed seeds. Under DDP each process has its own environments, seeds
    and replay.

    Args:
        env_id: id of a Gymnasium environment.
        env_kwargs: arguments of ``gymnasium.make``.
        num_envs: environments side by side (per process).
        num_processes: worker processes that they run in, side by side; 0 runs them in this one. The environments of an
            evaluation have workers of their own, as many.
        action_repeat: times that each action is taken, for environments that do not repeat it themselves.
        batch_size: transitions in a batch (per process).
        n_step: rewards that a transition sums up.
        replay_capacity_transitions: transitions kept (per process).
        warmup_decisions: uniformly random decisions (per process) before the first update.
        updates_per_decision: updates for each decision after the warm-up ("replay ratio").
        catch_up: updates are due for the random decisions too, and are made at once when these are over, as in SAC+AE:
            the budget of environment steps then contains the warm-up.
        epoch_env_steps: environment steps of an epoch, over all processes.
        eval_episodes: episodes of a validation, over all processes. test_episodes: of the final evaluation.
        eval_seed: seed of the first of them; the others count up, and the final evaluation begins 10,000 later.
        seed: of environments, warm-up and sampling; None takes that of the run.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: dict[str, Any] | None = None,
        num_envs: int = 1,
        num_processes: int = 0,
        action_repeat: int = 1,
        batch_size: int = 256,
        n_step: int = 1,
        replay_capacity_transitions: int = 1_000_000,
        warmup_decisions: int = 1_000,
        updates_per_decision: float = 1.0,
        catch_up: bool = False,
        epoch_env_steps: int = 1_000,
        eval_episodes: int = 10,
        test_episodes: int = 20,
        eval_seed: int = 1_000_000,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        check_ranges(
            num_envs=(num_envs, num_envs >= 1, "be at least 1"),
            batch_size=(batch_size, batch_size >= 1, "be at least 1"),
            eval_episodes=(eval_episodes, eval_episodes >= 1, "be at least 1"),
            test_episodes=(test_episodes, test_episodes >= 1, "be at least 1"),
            action_repeat=(action_repeat, action_repeat >= 1, "be at least 1"),
            updates_per_decision=(updates_per_decision, updates_per_decision > 0, "be positive"),
        )
        self.env_id, self.env_kwargs = env_id, env_kwargs or {}
        self.dataset = env_id
        self.num_envs, self.num_processes = num_envs, num_processes
        self.action_repeat = self.env_steps_per_decision = action_repeat
        self.batch_size, self.n_step = batch_size, n_step
        self.replay_capacity_transitions = replay_capacity_transitions
        self.warmup_decisions, self.updates_per_decision = warmup_decisions, updates_per_decision
        self.catch_up = catch_up
        self.epoch_env_steps = epoch_env_steps
        self.eval_episodes, self.test_episodes, self.eval_seed = eval_episodes, test_episodes, eval_seed
        self.seed = torch.initial_seed() if seed is None else seed
        self.decisions = 0
        self.updates = 0
        self.finished_returns: list[float] = []
        self._returns = torch.zeros(num_envs)
        self._envs: Envs | None = None
        self._validation: EvaluationEpisodes | None = None

    # What a source of another kind replaces: a world on another device, a buffer of single frames.

    def make_envs(self, count: int) -> Envs:
        """Environments side by side, not yet seeded."""
        if self.num_processes:
            return EnvProcesses(self.env_id, count, self.num_processes, self.action_repeat, self.env_kwargs)
        return GymEnvs(self.env_id, count, self.action_repeat, self.env_kwargs)

    def make_replay(self, envs: Envs) -> ReplayBuffer:
        """An empty buffer for what these environments do: of single frames where they show images."""
        size = (
            self.replay_capacity_transitions,
            envs.num_envs,
            envs.obs_shape,
            envs.action_dim,
            self.n_step,
            envs.device,
        )
        if getattr(envs, "obs_dtype", torch.float32) == torch.uint8:
            return FrameReplay(*size, frame_stack=getattr(envs, "frame_stack", 1))
        return ReplayBuffer(*size)

    # The loop.

    @property
    def agent(self) -> Agent:
        """The method that is being trained."""
        agent: Agent = self.trainer.lightning_module  # type: ignore[union-attr, assignment]
        return agent

    @property
    def processes(self) -> int:
        """Number of processes."""
        return self.trainer.world_size if self.trainer else 1

    @property
    def rank(self) -> int:
        """Which of them this is."""
        return self.trainer.global_rank if self.trainer else 0

    @property
    def env_steps(self) -> int:
        """Environment steps so far, over all processes."""
        return self.decisions * self.env_steps_per_decision * self.processes

    @property
    def updates_per_epoch(self) -> int:
        """Updates of an epoch."""
        return int(self.epoch_env_steps / (self.env_steps_per_decision * self.processes) * self.updates_per_decision)

    def setup(self, stage: str | None = None) -> None:
        """Make and seed environments, replay and random state; a resumed run fills them afterwards."""
        if self._envs is not None or stage not in (None, "fit"):
            return
        envs = self.make_envs(self.num_envs)
        self.env_steps_per_decision = getattr(envs, "env_steps_per_decision", self.action_repeat)
        if self.updates_per_epoch < 1:
            raise UserError(f"epoch_env_steps={self.epoch_env_steps} is too small for a single update")
        self._envs = envs
        self._check(self._envs)
        self.replay = self.make_replay(self._envs)
        streams = np.random.SeedSequence([self.seed, self.rank]).generate_state(1 + self.num_envs)
        self.generator = torch.Generator(self._envs.device).manual_seed(int(streams[0]))
        self._returns = torch.zeros(self.num_envs, device=self._envs.device)
        self._obs = self._envs.reset([int(seed) for seed in streams[1:]])

    def _check(self, envs: Envs) -> None:
        """Compare the sizes that the method was built with.

        Raises:
            UserError: if they are not those of the environment.
        """
        asked = getattr(self.trainer.lightning_module, "hparams", {}) if self.trainer else {}
        sizes = {"action_dim": envs.action_dim}
        if len(envs.obs_shape) == 1:
            sizes["obs_dim"] = envs.obs_shape[0]
        if len(envs.obs_shape) == 3:
            sizes |= {"image_size": envs.obs_shape[-1], "frame_stack": getattr(envs, "frame_stack", 1)}
        sees_images = "image_size" in asked
        if sees_images != (len(envs.obs_shape) == 3) and ("obs_dim" in asked or sees_images):
            shows, sees = ("images", "vectors") if len(envs.obs_shape) == 3 else ("vectors", "images")
            raise UserError(f"{self.env_id} shows {shows}, and {type(self.agent).__name__} sees {sees}")
        for name, size in sizes.items():
            if asked.get(name, size) != size:
                raise UserError(f"{self.env_id} needs --model.{name}={size}, not {asked[name]}")

    def next_batch(self) -> Batch:
        """Take the decisions that are due, then draw a batch."""
        self._warm_up()
        free = 0 if self.catch_up else self.warmup_decisions
        while self.updates + 1 > self.updates_per_decision * (self.decisions - free):
            self._decide(self.agent.act(self._seen().to(self.agent.device)).to(self._obs.device))
        self.updates += 1
        counts = {"env_steps": self.env_steps, "decisions": self.decisions}
        return {**self.replay.sample(self.batch_size, self.generator), **counts}

    def _warm_up(self) -> None:
        """Fill the replay with random decisions, once."""
        while self.decisions < self.warmup_decisions:
            self._decide(self._random_actions())

    def _seen(self) -> Tensor:
        """What the agent acts on, (N, ...)."""
        return self._obs

    def _random_actions(self) -> Tensor:
        """Uniform actions, (N, A) in [-1, 1)."""
        assert self._envs is not None
        shape = (self.num_envs, self._envs.action_dim)
        return torch.rand(shape, generator=self.generator, device=self.generator.device) * 2.0 - 1.0

    def _decide(self, action: Tensor) -> None:
        """Act once in each environment and store what happened.

        Args:
            action: (N, A) in [-1, 1].
        """
        assert self._envs is not None
        step = self._envs.step(action)
        self.replay.add(self._transition(action, step))
        self._obs = step.obs
        self.decisions += self.num_envs
        self._returns += step.reward
        ended = step.terminated | step.truncated
        if ended.any():
            self.finished_returns += self._returns[ended].tolist()
            self._returns[ended] = 0.0

    def _transition(self, action: Tensor, step: Step) -> dict[str, Tensor]:
        """What goes into the replay: `ReplayBuffer.add`."""
        return {
            "obs": self._obs,
            "action": action,
            "reward": step.reward,
            "next_obs": step.next_obs,
            "terminated": step.terminated,
            "truncated": step.truncated,
        }

    def pop_finished_returns(self) -> list[float]:
        """Returns of the training episodes that ended since the last call."""
        finished, self.finished_returns = self.finished_returns, []
        return finished

    # Loaders.

    def train_dataloader(self) -> Experience:
        """Batches of experience that is made while they are drawn."""
        return Experience(self, self.updates_per_epoch)

    def val_dataloader(self) -> EvaluationEpisodes:
        """Evaluation episodes, the same loader whenever it is asked for: its environments are made once."""
        self._validation = self._validation or self._episodes(self.seeds(self.eval_seed, self.eval_episodes))
        return self._validation

    def test_dataloader(self) -> EvaluationEpisodes:
        """The final evaluation's episodes, other ones than in validation."""
        return self._episodes(self.seeds(self.eval_seed + 10_000, self.test_episodes))

    def _episodes(self, seeds: list[int]) -> EvaluationEpisodes:
        """One episode for each seed, by whoever is trained."""
        return EvaluationEpisodes(lambda: self.make_envs(len(seeds)), lambda: self.agent, seeds)

    def seeds(self, first: int, episodes: int) -> list[int]:
        """This process's share of the evaluation seeds.

        Raises:
            UserError: if they cannot be shared out evenly.
        """
        if episodes % self.processes:
            raise UserError(f"{episodes} evaluation episodes cannot be shared by {self.processes} processes")
        return list(range(first + self.rank, first + episodes, self.processes))

    # Resuming.

    def state_dict(self) -> dict[str, Any]:
        """Replay, environments, random states and counters of each process, as tensors and plain values."""
        if self._envs is None:
            return {}
        return {"processes": gathered(self.own_state())}

    def own_state(self) -> dict[str, Any]:
        """What this process has to keep."""
        assert self._envs is not None
        return {
            "replay": self.replay.state_dict(),
            "envs": self._envs.state_dict(),
            "generator": self.generator.get_state(),
            "returns": self._returns.cpu(),
            "finished_returns": list(self.finished_returns),
            "decisions": self.decisions,
            "updates": self.updates,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            UserError: if it was written by another number of processes.
        """
        if not state_dict or self._envs is None:
            return
        states = state_dict["processes"]
        if len(states) != self.processes:
            raise UserError(f"the checkpoint holds the replay of {len(states)} processes: resume with as many")
        self.load_own_state(states[self.rank])

    def load_own_state(self, own: dict[str, Any]) -> None:
        """Take up what this process kept."""
        assert self._envs is not None
        self.replay.load_state_dict(own["replay"])
        self._obs = self._envs.load_state_dict(own["envs"])
        self.generator.set_state(own["generator"])
        self._returns = own["returns"].to(self._envs.device)
        self.finished_returns = list(own["finished_returns"])
        self.decisions, self.updates = own["decisions"], own["updates"]
