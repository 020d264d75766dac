"""Evaluation of an agent: whole episodes with the mean action, on environments and seeds of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from handgen.datamodules.envs import Envs
from handgen.datamodules.known_frames import KnownFrames


class Agent(Protocol):
    """What acting asks of a method."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        """(N, ...) observations to (N, A) actions in [-1, 1]."""
        ...


class Player:
    """Who takes the mean action in environments side by side, each for one episode.

    Args:
        agent: acts; one that describes frames is given what it knows of the last of them (`KnownFrames`).
        envs: N of them.
    """

    def __init__(self, agent: Agent, envs: Envs) -> None:
        self.agent = agent
        describes = hasattr(agent, "describe")
        self.known = KnownFrames(agent, envs.num_envs, envs.action_dim) if describes else None  # type: ignore[arg-type]
        self.action: Tensor | None = None

    def act(self, obs: Tensor) -> Tensor:
        """Observations (N, ...) to actions (N, A), where the environments live."""
        seen = obs if self.known is None else self._known(self.known, obs)
        self.action = self.agent.act(seen.to(self.agent.device), deterministic=True).to(obs.device)
        return self.action

    def _known(self, known: KnownFrames, obs: Tensor) -> Tensor:
        """What is known (N, T, D + A) of the newest frames and those before."""
        if self.action is None:
            known.begin(torch.ones(len(obs), dtype=torch.bool), obs)
        else:
            known.add(self.action, known.describe(obs))
        return known.values


class EvaluationEpisodes:
    """A loader of one batch: all episodes, played side by side when it is drawn.

    Args:
        make_envs: makes one environment for each seed; called once.
        agent: tells who acts.
        seeds: one episode for each.
    """

    def __init__(self, make_envs: Callable[[], Envs], agent: Callable[[], Agent], seeds: list[int]) -> None:
        self.make_envs, self.agent, self.seeds = make_envs, agent, seeds
        self.envs: Envs | None = None

    def __len__(self) -> int:
        """Return 1: there is one batch."""
        return 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield what `play_episodes` returns."""
        self.envs = self.envs or self.make_envs()
        yield play_episodes(self.envs, self.agent(), self.seeds)


def play_episodes(envs: Envs, agent: Agent, seeds: list[int]) -> dict[str, Tensor]:
    """Play one episode in each environment with the mean action.

    Args:
        envs: one for each seed.
        agent: who acts.
        seeds: of the episodes.

    Returns:
        ``episode_return`` (n,), undiscounted, and ``episode_length`` (n,), in decisions.
    """
    obs, player = envs.reset(seeds), Player(agent, envs)
    running = torch.ones(len(seeds), dtype=torch.bool, device=envs.device)
    returns, lengths = torch.zeros(2, len(seeds), device=envs.device)
    while running.any():
        step = envs.step(player.act(obs))
        returns += running * step.reward
        lengths += running
        running &= ~(step.terminated | step.truncated)
        obs = step.obs
    return {"episode_return": returns, "episode_length": lengths}
