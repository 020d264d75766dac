"""Environments side by side as tensors in and tensors out, with a state that can be saved exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from handgen.errors import UserError

if TYPE_CHECKING:
    import gymnasium


REMEMBERED = "remembered"
"""Key of an environment's own ``state_dict`` beside the random state."""
EnvKwargs = dict[str, Any] | list[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """What N environments answer to N actions.

    Attributes:
        obs: (N, ...), what the next action is chosen on: that of a new episode where one ended.
        next_obs: (N, ...), what the action led to: the last observation of the episode where one ended.
        reward: (N,), summed over an action repeat.
        terminated: bool (N,), the episode ended by itself.
        truncated: bool (N,), a time limit cut it off.
    """

    obs: Tensor
    next_obs: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Envs(Protocol):
    """N environments that step together; a world written in torch implements this directly, on any device.

    One that needs them may have three more attributes: ``env_steps_per_decision`` (its own action repeat, 1 otherwise),
    ``obs_dtype`` (float32 otherwise) and ``frame_stack`` (frames in an image observation, 1 otherwise).

    Attributes:
        num_envs: N.
        obs_shape: shape of one observation.
        action_dim: number of actions A, each in [-1, 1].
        device: of the tensors.
    """

    num_envs: int
    obs_shape: tuple[int, ...]
    action_dim: int
    device: torch.device

    def reset(self, seeds: list[int] | None = None) -> Tensor:
        """Start N episodes; with seeds, those that the seeds determine. Returns (N, ...)."""
        ...

    def step(self, action: Tensor) -> Step:
        """Take (N, A) actions in [-1, 1]; episodes that end are followed by new ones at once."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the future, as tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Go on from a saved state; returns the observations (N, ...) that the next actions are chosen on."""
        ...


class GymEnvs:
    """Gymnasium environments one after the other in this process.

    Their inner state has no common format, so a running episode is saved as the random state it began with and the
    actions since: resuming begins it again and takes them again. That is exact for environments whose only randomness
    is ``env.unwrapped.np_random``, as Gymnasium asks for, and which remember nothing of earlier episodes, or have a
    ``state_dict`` and a ``load_state_dict`` for what they do.

    Args:
        env_id: registered id.
        num_envs: N.
        action_repeat: times that each action is taken; rewards are summed.
        env_kwargs: arguments of ``gymnasium.make``, or a list with those of each.

    Raises:
        UserError: if the environment is unknown, has no box of finite actions, or other observations than these, or if
            actions would be repeated twice over.
    """

    def __init__(
        self, env_id: str, num_envs: int = 1, action_repeat: int = 1, env_kwargs: EnvKwargs | None = None
    ) -> None:
        each = env_kwargs if isinstance(env_kwargs, list) else [env_kwargs or {}] * num_envs
        self.envs = [make_env(env_id, kwargs) for kwargs in each]
        self.num_envs, self.action_repeat = num_envs, action_repeat
        self.device = torch.device("cpu")
        self.obs_shape = tuple(self.envs[0].observation_space.shape or ())
        self.obs_dtype = torch.uint8 if self.envs[0].observation_space.dtype == np.uint8 else torch.float32
        self.frame_stack = int(getattr(self.envs[0].unwrapped, "frame_stack", 1))
        own_repeat = int(getattr(self.envs[0].unwrapped, "action_repeat", 1))
        if action_repeat > 1 and own_repeat > 1:
            raise UserError(
                f"{env_id} repeats actions itself: set data.env_kwargs.action_repeat, not data.action_repeat"
            )
        self.env_steps_per_decision = action_repeat * own_repeat
        space: Any = self.envs[0].action_space
        self.action_dim = int(space.shape[0])
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self._began: list[dict[str, Any]] = [{} for _ in self.envs]
        self._taken: list[list[Tensor]] = [[] for _ in self.envs]

    def reset(self, seeds: list[int] | None = None) -> Tensor:
        """Start an episode in each.

        Args:
            seeds: one for each; None goes on with their random states.
        """
        if seeds is not None:
            for env, seed in zip(self.envs, seeds, strict=True):
                env.reset(seed=seed)  # only to seed it: what follows is the same as after any other episode
        return torch.stack([self._begin(index) for index in range(self.num_envs)])

    def step(self, action: Tensor) -> Step:
        """Take one action in each environment.

        Args:
            action: (N, A) in [-1, 1].
        """
        action = action.cpu()
        taken = [self._step(index, row) for index, row in enumerate(action)]
        next_obs = torch.stack([obs for obs, *_ in taken])
        reward, terminated, truncated = zip(*((r, te, tr) for _, r, te, tr in taken), strict=True)
        obs = next_obs
        if any(terminated) or any(truncated):
            ended = [te or tr for te, tr in zip(terminated, truncated, strict=True)]
            obs = torch.stack([self._begin(i) if ended[i] else next_obs[i] for i in range(self.num_envs)])
        return Step(obs, next_obs, torch.tensor(reward), torch.tensor(terminated), torch.tensor(truncated))

    def _begin(self, index: int) -> Tensor:
        """Start an episode, remembering what it takes to start it again."""
        env: Any = self.envs[index].unwrapped
        self._began[index] = dict(env.np_random.bit_generator.state)
        if hasattr(env, "state_dict"):
            self._began[index][REMEMBERED] = env.state_dict()
        self._taken[index] = []
        return self._as_tensor(self.envs[index].reset()[0])

    def _step(self, index: int, action: Tensor) -> tuple[Tensor, float, bool, bool]:
        """Take one action in one environment, as often as it is repeated."""
        self._taken[index].append(action)
        scaled = self.low + 0.5 * (action.numpy() + 1.0) * (self.high - self.low)
        total = 0.0
        for _ in range(self.action_repeat):
            obs, reward, terminated, truncated, _ = self.envs[index].step(scaled)
            total += float(reward)
            if terminated or truncated:
                break
        return self._as_tensor(obs), total, bool(terminated), bool(truncated)

    def _as_tensor(self, obs: Any) -> Tensor:
        """An observation as a tensor of its own: environments may write the next one into the same memory."""
        return torch.from_numpy(np.array(obs, dtype=np.uint8 if self.obs_dtype == torch.uint8 else np.float32))

    def state_dict(self) -> dict[str, Any]:
        """Random state at the start of each running episode, and the actions since."""
        empty = torch.empty(0, self.action_dim)
        return {"began": list(self._began), "taken": [torch.stack(rows) if rows else empty for rows in self._taken]}

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        """Start the saved episodes and take their actions again; returns the observations, (N, ...)."""
        if len(state["began"]) != self.num_envs:
            raise UserError(
                f"the checkpoint holds {len(state['began'])} environments, data.num_envs is {self.num_envs}"
            )
        observations = []
        for index, (began, taken) in enumerate(zip(state["began"], state["taken"], strict=True)):
            env: Any = self.envs[index].unwrapped
            self.envs[index].reset(seed=0)  # makes the generator whose state is set
            env.np_random.bit_generator.state = {name: part for name, part in began.items() if name != REMEMBERED}
            if REMEMBERED in began:
                env.load_state_dict(began[REMEMBERED])
            obs = self._begin(index)
            for action in taken:
                obs = self._step(index, action)[0]
            observations.append(obs)
        return torch.stack(observations)

    def close(self) -> None:
        """Close all."""
        for env in self.envs:
            env.close()


def make_env(env_id: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make an environment that SAC can act in.

    Args:
        env_id: registered id; ``module:id`` imports a module that registers it, those of handgen are known.
        kwargs: arguments of ``gymnasium.make``.

    Raises:
        UserError: as in `GymEnvs`.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise UserError("environments need gymnasium: pip install -c constraints.txt -e '.[rl]'") from error
    if env_id.startswith("handgen/"):
        import handgen.arm
        import handgen.painter
        import handgen.pixels  # noqa: F401  # registers them
    try:
        env: gymnasium.Env[Any, Any] = gymnasium.make(env_id, **kwargs)
    except (gymnasium.error.Error, ImportError, TypeError) as error:  # TypeError: of arguments that there are not
        raise UserError(f"cannot make the environment {env_id!r}: {error}") from error
    action, obs = env.action_space, env.observation_space
    if not isinstance(action, gymnasium.spaces.Box) or len(action.shape) != 1 or not action.is_bounded():
        raise UserError(f"{env_id}: actions must be a vector with finite bounds, not {action}")
    is_image = obs.dtype == np.uint8 and len(obs.shape or ()) == 3
    if not isinstance(obs, gymnasium.spaces.Box) or not (is_image or len(obs.shape) == 1):
        raise UserError(f"{env_id}: observations must be a vector or a uint8 image (C, H, W), not {obs}")
    return env
