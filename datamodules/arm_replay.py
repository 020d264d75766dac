"""A replay of the arm's decisions: each target is stored once, and poses reached can stand in for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgen.datamodules.replay_buffer import Batch, Kind, ReplayBuffer
from handgen.errors import UserError


class ArmReplay(ReplayBuffer):
    """Transitions of ``handgen/ArmImitation-v0``, whose observations are target and arm side by side.

    *Hindsight* (Andrychowicz et al. 2017, arXiv:1707.01495): in a share of the transitions drawn, the picture of the
    pose that was reached takes the target's place. That imitation is perfect, and its reward is known.

    Args:
        capacity_transitions: transitions kept, a multiple of N.
        num_envs: N.
        obs_shape: (C, H, 2 H).
        action_dim: number of actions A.
        hindsight: share of the transitions.
        best_reward: of a perfect imitation.

    Raises:
        UserError: if the memory does not suffice, or observations have another shape.
    """

    def __init__(
        self,
        capacity_transitions: int,
        num_envs: int,
        obs_shape: tuple[int, ...],
        action_dim: int,
        hindsight: float = 0.0,
        best_reward: float = 0.0,
    ) -> None:
        if len(obs_shape) != 3 or obs_shape[2] != 2 * obs_shape[1]:
            raise UserError(f"the arm's observations are two pictures side by side (C, H, 2 H), not {obs_shape}")
        self.size, self.hindsight, self.best_reward = obs_shape[1], hindsight, best_reward
        super().__init__(capacity_transitions, num_envs, obs_shape, action_dim)

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """The observation, and the arm's picture after it."""
        channels, height, _ = obs_shape
        return {"obs": (obs_shape, torch.uint8), "reached": ((channels, height, height), torch.uint8)}

    def add(self, transition: dict[str, Tensor]) -> None:
        """Store one step of all environments: `ReplayBuffer.add`, with uint8 observations."""
        super().add({**transition, "reached": transition["next_obs"][..., self.size :]})

    def _next_obs(self, flat: Tensor) -> Tensor:
        """The same target beside the pose reached."""
        return torch.cat([self._take("obs", flat)[..., : self.size], self._take("reached", flat)], dim=-1)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Draw transitions uniformly, with replacement, some of them in hindsight.

        Args:
            batch_size: B.
            generator: of the draws.

        Returns:
            As `ReplayBuffer.sample` does, and ``hindsight`` bool (B,): which ones.
        """
        batch = super().sample(batch_size, generator)
        chosen = torch.rand(batch_size, generator=generator) < self.hindsight
        reached = batch["next_obs"][chosen][..., self.size :]
        for name in ("obs", "next_obs"):
            seen = batch[name][chosen]
            seen[..., : self.size] = reached
            batch[name][chosen] = seen
        batch["reward"][chosen] = self.best_reward
        batch["terminated"] |= chosen
        batch["hindsight"] = chosen
        return batch


class NewestTransitions(ReplayBuffer):
    """What the environments did last, and nothing before: for methods that learn from each step once.

    Args:
        num_envs: N.
        obs_shape: shape of one observation.
        action_dim: number of actions A.
        dtype: of observations.
    """

    def __init__(self, num_envs: int, obs_shape: tuple[int, ...], action_dim: int, dtype: torch.dtype) -> None:
        self.dtype = dtype
        super().__init__(num_envs, num_envs, obs_shape, action_dim)

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """Observations of the environment's own type."""
        return {"obs": (obs_shape, self.dtype), "next_obs": (obs_shape, self.dtype)}

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """The newest transition of each environment, in their order; nothing is drawn.

        Args:
            batch_size: not used.
            generator: not used.
        """
        del batch_size, generator
        batch: dict[str, Any] = {name: column[0].clone() for name, column in self.columns.items()}
        batch["reward"] = batch["reward"][:, None]
        batch["counted"] = torch.ones_like(batch["reward"], dtype=torch.bool)
        return batch
