"""Evaluation of an agent: whole episodes with the mean action, on environments and seeds of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from handgen.datamodules.envs import Envs


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
    """Who takes the mean action in environments side by side, reminded of what it did if it asks for that.

    Args:
        agent: acts; one with an attribute ``past_actions``, a number P, is given its last P actions as ``past``
            (N, P, A), newest last, zeros before the first.
        envs: N of them.
    """

    def __init__(self, agent: Agent, envs: Envs) -> None:
        self.agent = agent
        self.past = torch.zeros(envs.num_envs, getattr(agent, "past_actions", 0), envs.action_dim, device=agent.device)

    def act(self, obs: Tensor) -> Tensor:
        """Observations (N, ...) to actions (N, A), where the environments live."""
        reminder = {"past": self.past} if self.past.shape[1] else {}
        action = self.agent.act(obs.to(self.agent.device), deterministic=True, **reminder)
        self.past = torch.cat([self.past, action[:, None]], dim=1)[:, 1:]
        return action.to(obs.device)


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
