"""``handgen/LatentRepair-v0``: the batched world of `handgen.latent.repair`, one latent at a time, for Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from handgen.latent.repair import LatentRepair
from handgen.random_state import seeded

Vector = NDArray[np.float32]


class LatentRepairEnv(gymnasium.Env[Vector, Vector]):
    """One latent to repair; see `LatentRepair` for observation, action and reward.

    The learning discriminators of the reward stay as they are here: whoever trains on this environment refreshes them
    (or leaves them out, with weights 0).

    Args:
        world: a world of one latent, from ``LatentTuner.world(1)``.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012  # Gymnasium's own name and type

    def __init__(self, world: LatentRepair, render_mode: str | None = None) -> None:
        self.world = world
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, world.obs_shape, np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (world.action_dim,), np.float32)
        self.latent = world.latent

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begin with a new latent; a seed decides which, and which views the judge sees."""
        super().reset(seed=seed)
        del options
        obs = self.world.reset([int(self.np_random.integers(2**31))])
        self.latent = self.world.latent
        return obs[0].cpu().numpy(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Displace the latent."""
        views = int(self.np_random.integers(2**31))
        with seeded(views, self.world.device):  # augmented views draw from torch's global state
            step = self.world.step(torch.from_numpy(np.array(action, np.float32))[None].to(self.world.device))
        self.latent = step.next_obs[:, : self.world.action_dim]
        return step.next_obs[0].cpu().numpy(), float(step.reward), bool(step.terminated), False, {}

    def render(self) -> NDArray[np.uint8] | None:
        """The decoded latent, uint8 (H, W, 3)."""
        if self.render_mode is None:
            return None
        with torch.no_grad():
            image = self.world.decode(self.world.reward.to_latent(self.latent))[0]
        pixels: NDArray[np.uint8] = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return pixels
