"""Rendering frames of a control task: those a random policy sees, and cart-poles in states drawn uniformly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.datamodules.image_cache import Chunk
from handgen.errors import UserError

TRAIN = 0


@dataclass(frozen=True)
class Scene:
    """What is rendered; see ``FramesDataModule`` for the settings."""

    domain: str
    task: str
    image_size: int
    action_repeat: int
    supersampling: int
    render: str
    farthest_m: float
    seed: int

    def make_env(self) -> Any:
        """The environment, with single frames.

        Raises:
            UserError: if Gymnasium is not installed, or the environment refuses the settings.
        """
        try:
            import gymnasium

            import handgen.pixels  # noqa: F401  # registers the environment
        except ImportError as error:
            raise UserError(
                f"rendering a task needs {error.name}: pip install -c constraints.txt -e '.[rl]'"
            ) from error
        return gymnasium.make(
            "handgen/CartpolePixels-v0",
            domain=self.domain,
            task=self.task,
            size=self.image_size,
            frame_stack=1,
            action_repeat=self.action_repeat,
            render=self.render,
            supersampling=self.supersampling,
            disable_env_checker=True,
        )


def render_scene(job: Tensor, scene: Scene) -> Chunk:
    """Render one chunk; it can be done in another process, in any order.

    Args:
        job: int64 (3,): code of the split (0 train), number of the chunk, frames.
        scene: what to render.

    Returns:
        uint8 (n, 3, size, size), and the column ``state``: x (metres), sin and cos of the pole's angle, NaN for tasks
        without them.
    """
    split, number, count = job.tolist()
    random = np.random.default_rng([scene.seed, split, number])
    env = scene.make_env()
    uniform = split != TRAIN and scene.domain == "cartpole"
    seen = uniform_states(env, scene, random, count) if uniform else random_policy(env, random, count)
    env.close()
    images = torch.from_numpy(np.stack([obs for obs, _ in seen]))
    return images, {"state": [true_state(info) for _, info in seen]}


def random_policy(env: Any, random: np.random.Generator, count: int) -> list[tuple[Any, dict[str, Any]]]:
    """Frames and infos of ``count`` decisions, actions uniform within their bounds, from the start of an episode."""
    low, high = env.action_space.low, env.action_space.high
    obs, info = env.reset(seed=int(random.integers(2**31)))
    seen = [(obs, info)]
    while len(seen) < count:
        obs, _, terminated, truncated, info = env.step(random.uniform(low, high).astype(np.float32))
        if terminated or truncated:
            obs, info = env.reset()
        seen.append((obs, info))
    return seen


def uniform_states(env: Any, scene: Scene, random: np.random.Generator, count: int) -> list[tuple[Any, dict[str, Any]]]:
    """Frames and infos of resting cart-poles, x uniform within ``farthest_m``, angle uniform over the circle."""
    _, info = env.reset(seed=int(random.integers(2**31)))
    state = np.zeros_like(info["physics_state"])
    seen = []
    for _ in range(count):
        state[0] = random.uniform(-scene.farthest_m, scene.farthest_m)
        state[1 : len(info["position"])] = random.uniform(-np.pi, np.pi, len(info["position"]) - 1)
        seen.append(env.reset(options={"physics_state": state}))
    return seen


def true_state(info: dict[str, Any]) -> list[float]:
    """x, sin and cos of the pole's angle, NaN where the task has no such thing."""
    if "angle" not in info:
        return [float("nan")] * 3
    return [info["x"], float(np.sin(info["angle"])), float(np.cos(info["angle"]))]
