"""The world in which a tuner repairs latents: a frozen decoder, batched, on the decoder's device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.latent.reward import Measured, improvement
from handgen.latent.reward_model import RewardModel

MAX_EPISODE_LENGTH = 5


@dataclass(frozen=True)
class RepairStep:
    """What N worlds answer to N actions: `handgen.datamodules.envs.Step` and what was seen on the way.

    Attributes:
        obs: (N, O), what the next action is chosen on: that of a new episode where one ended.
        next_obs: (N, O), what the action led to.
        reward: (N,), by the discriminators as they are now.
        terminated: bool (N,), after the last step of an episode.
        truncated: bool (N,), never.
        before: what was seen before the action; zeros in episodes of one step, which do not ask.
        after: what was seen after it.
    """

    obs: Tensor
    next_obs: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    before: Measured
    after: Measured


class LatentRepair:
    """N latents to repair side by side; an action displaces each by at most ``scale`` standard deviations a dimension.

    ``z' = z + scale * SD * a`` with the SD of the aggregate posterior, ``a`` in [-1, 1]^L. An observation is the
    standardised latent ``u``, (N, L); in episodes of several steps a last column tells the share of them that is done.
    Episodes of one step are rewarded by the potential of what they reach; longer ones by its improvement,
    ``Phi(s') - Phi(s)`` (Ng, Harada and Russell 1999), and both pay for the displacement.

    Args:
        decode: (N, L) latents to (N, 3, H, W) images in [0, 1].
        reward: what a latent is worth.
        starts: standardised latents (P, L) that episodes begin with, drawn with replacement.
        num_envs: N.
        scale: largest displacement of a step, in standard deviations.
        episode_length: steps T of an episode, 1 to 5.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        reward: RewardModel,
        starts: Tensor,
        num_envs: int,
        scale: float = 1.0,
        episode_length: int = 1,
    ) -> None:
        check_repair_settings(scale, episode_length)
        self.decode, self.reward, self.starts = decode, reward, starts
        self.num_envs, self.scale, self.episode_length = num_envs, scale, episode_length
        self.action_dim = starts.shape[1]
        self.obs_shape = (self.action_dim + (episode_length > 1),)
        self.device = starts.device
        self.generator = torch.Generator(self.device).manual_seed(0)
        self.reset()

    def reset(self, seeds: list[int] | None = None) -> Tensor:
        """Start N episodes; with seeds, those that the seeds determine. Returns observations (N, O)."""
        if seeds is not None:
            self.generator.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        self.latent = self._draw()
        self.time = torch.zeros(self.num_envs, device=self.device)
        self.seen = self._look(self.latent) if self.episode_length > 1 else self._unseen()
        return self._obs(self.latent, self.time)

    @torch.no_grad()
    def step(self, action: Tensor) -> RepairStep:
        """Take (N, L) actions in [-1, 1]; episodes that end are followed by new ones at once."""
        start, before = self.latent, self.seen
        latent = displace(start, action, self.scale)
        after = self._look(latent)
        reward = self._reward(start, before, latent, after, action)
        time = self.time + 1.0
        next_obs = self._obs(latent, time)
        ended = time >= self.episode_length
        self.latent, self.time, self.seen = latent, time, after
        if ended.all():  # all episodes have the same length and began together
            self.reset()
        return RepairStep(
            self._obs(self.latent, self.time), next_obs, reward, ended, torch.zeros_like(ended), before, after
        )

    def _reward(self, start: Tensor, before: Measured, latent: Tensor, after: Measured, action: Tensor) -> Tensor:
        """Reward (N,) by the discriminators of this moment."""
        own = after.features
        value = self.reward.weights.total(self.reward.potential(latent, after.terms, after.features, own))
        if self.episode_length > 1:
            first = self.reward.weights.total(self.reward.potential(start, before.terms, before.features, own))
            value = improvement(value, first, gamma=1.0)
        costs = self.reward.costs(start, latent, action)
        return value + self.reward.weights.total(costs) if costs else value

    def _draw(self) -> Tensor:
        """Latents that new episodes begin with, (N, L)."""
        rows = torch.randint(len(self.starts), (self.num_envs,), generator=self.generator, device=self.device)
        return self.starts[rows]

    @torch.no_grad()
    def _look(self, latent: Tensor) -> Measured:
        """Decode and measure."""
        return self.reward.measure(self.decode(self.reward.to_latent(latent)))

    def _unseen(self) -> Measured:
        """Zeros in the place of what nobody asks for."""
        features = self.reward.real_features.shape[1]
        blank = torch.zeros(self.num_envs, 3 + features, device=self.device)
        return Measured(blank[:, :3], blank[:, 3:])

    def _obs(self, latent: Tensor, time: Tensor) -> Tensor:
        """Observations (N, O)."""
        if self.episode_length == 1:
            return latent
        return torch.cat([latent, time[:, None] / self.episode_length], dim=1)

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the future, as tensors and plain values."""
        return {
            "latent": self.latent.cpu().clone(),
            "time": self.time.cpu().clone(),
            "terms": self.seen.terms.cpu().clone(),
            "features": self.seen.features.cpu().clone(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Go on from a saved state; returns the observations (N, O) that the next actions are chosen on."""
        self.latent, self.time = state["latent"].to(self.device), state["time"].to(self.device)
        self.seen = Measured(state["terms"].to(self.device), state["features"].to(self.device))
        self.generator.set_state(state["generator"])
        return self._obs(self.latent, self.time)


def displace(latent: Tensor, action: Tensor, scale: float) -> Tensor:
    """Bounded displacement of standardised latents, ``u + scale * a``, (B, L)."""
    return latent + scale * action


def check_repair_settings(scale: float, episode_length: int) -> None:
    """Refuse settings that make no world.

    Raises:
        UserError: naming the setting.
    """
    if not 0.0 < scale < float("inf"):
        raise UserError(f"scale must be positive, got {scale}: the largest displacement in standard deviations")
    if not 1 <= episode_length <= MAX_EPISODE_LENGTH:
        raise UserError(f"episode_length must lie in 1 to {MAX_EPISODE_LENGTH}, got {episode_length}")
