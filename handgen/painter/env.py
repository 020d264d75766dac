"""Painting as Gymnasium environments: ``handgen/Paint-v0`` and ``handgen/Scenes-v0``."""

from __future__ import annotations

from typing import Any, Literal, cast

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.errors import UserError, check_ranges
from handgen.painter.actions import ActionTable, action_table
from handgen.painter.programs import check_actions
from handgen.painter.scenes import SceneWorld
from handgen.painter.world import PaintWorld
from handgen.painter.worlds import paint_engine

Obs = dict[str, NDArray[np.uint8]]
Action = NDArray[np.int64] | dict[str, Any]


def action_space(table: ActionTable) -> gymnasium.Space[Action]:
    """A choice for each component, or choices and numbers by name where some are continuous."""
    components = table.components
    if all(component.bins for component in components):
        choices = gymnasium.spaces.MultiDiscrete([component.bins for component in components])
        return cast(gymnasium.Space[Action], choices)
    spaces: dict[str, gymnasium.Space[Any]] = {
        c.name: gymnasium.spaces.Discrete(c.bins) if c.bins else gymnasium.spaces.Box(c.low, c.high, (), np.float32)
        for c in components
    }
    return cast(gymnasium.Space[Action], gymnasium.spaces.Dict(spaces))


class PaintingEnv(gymnasium.Env[Obs, Action]):
    """A canvas, and a number of actions to spend on it.

    Observations are ``canvas`` uint8 (H, W, C) and, where there is a target, ``target`` of the same shape. An action is
    one choice for each component of the table; where some are continuous, choices and numbers by name. The reward is
    what the mean squared error from the target loses by the action, 0 without a target: what an image is worth is for a
    discriminator to say (Ganin et al. 2018, arXiv:1804.01118). An episode is truncated after its last action; ``info``
    has ``actions_left``.

    Args:
        world: is painted in.
        length: actions of an episode.
        target: uint8 (H, W, C) to be painted; also to be given as ``options={"target": ...}`` to ``reset``.

    Raises:
        UserError: for a target of another size.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(
        self,
        world: PaintWorld | SceneWorld,
        length: int,
        target: NDArray[np.uint8] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        check_ranges(length=(length, length >= 1, "be at least 1"))
        self.world, self.length, self.render_mode = world, length, render_mode
        canvas = world.reset(1)
        self.table: ActionTable = world.table
        self.shape = (canvas.shape[2], canvas.shape[3], canvas.shape[1])
        box = gymnasium.spaces.Box(0, 255, self.shape, np.uint8)
        self.given = None if target is None else self._checked(target)
        spaces = {"canvas": box} if target is None else {"canvas": box, "target": box}
        self.observation_space = cast(gymnasium.Space[Obs], gymnasium.spaces.Dict(cast(Any, spaces)))
        self.action_space = action_space(self.table)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Take a blank canvas; ``options={"target": image}`` replaces the target of an environment that has one."""
        super().reset(seed=seed)
        if options and "target" in options:
            if self.given is None:
                raise UserError("this environment was made without a target: give gymnasium.make(..., target=image)")
            self.given = self._checked(options["target"]).copy()
        self.canvas = self.world.reset(1)
        self.left = self.length
        return self._obs(), {"actions_left": self.left}

    def step(self, action: Action) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            UserError: for a choice that there is not, or that is no number.
        """
        before = self._error()
        missing = [name for name in self.table.names if isinstance(action, dict) and name not in action]
        if missing:
            raise UserError(f"an action of the table {self.table.name} has also {', '.join(missing)}")
        row = [action[name] for name in self.table.names] if isinstance(action, dict) else action
        choices = torch.as_tensor(np.asarray(row, dtype=np.float64)).float()[None]
        check_actions(self.table, choices)
        self.canvas = self.world.step(choices)
        self.left -= 1
        return self._obs(), before - self._error(), False, self.left <= 0, {"actions_left": self.left}

    def render(self) -> NDArray[np.uint8]:
        """The canvas in colour, uint8 (H, W, 3)."""
        return np.broadcast_to(self._obs()["canvas"], (*self.shape[:2], 3)).copy()

    def _obs(self) -> Obs:
        canvas = (self.canvas[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return {"canvas": canvas} if self.given is None else {"canvas": canvas, "target": self.given.copy()}

    def _error(self) -> float:
        """Mean squared difference from the target; 0 without one."""
        if self.given is None:
            return 0.0
        target: Tensor = torch.from_numpy(self.given).permute(2, 0, 1).float() / 255
        return float((self.canvas[0] - target).square().mean())

    def _checked(self, target: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A target of the canvas' shape."""
        image = np.asarray(target)
        if image.shape != self.shape or image.dtype != np.uint8:
            raise UserError(
                f"a target must be uint8 {self.shape}, as the canvas is, not {image.dtype} {tuple(image.shape)}"
            )
        return image


class PaintEnv(PaintingEnv):
    """``handgen/Paint-v0``: brush strokes on white.

    Args:
        table: what an action is, a preset of `handgen.painter.actions`.
        size: height and width of the canvas in pixels.
        channels: 1 (grey) or 3.
        length: actions of an episode.
        engine: ``torch`` or ``mypaint``.
        brush: of MyPaint.
        target: uint8 (H, W, C) to be painted.
        render_mode: ``rgb_array`` or None.

    Raises:
        UserError: for an unknown table, engine or brush, or a size that does not match.
    """

    def __init__(
        self,
        table: str = "fast",
        size: int = 64,
        channels: int = 3,
        length: int = 20,
        engine: Literal["torch", "mypaint"] = "torch",
        brush: str = "pen",
        target: NDArray[np.uint8] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        drawn = paint_engine(engine, size, channels, brush)
        super().__init__(PaintWorld(action_table(table), drawn), length, target, render_mode)


class ScenesEnv(PaintingEnv):
    """``handgen/Scenes-v0``: solid objects on a floor, drawn by MuJoCo.

    Args:
        table: what an action is, ``scene`` or ``scene_place_first``.
        size: height and width of the picture in pixels.
        length: actions of an episode.
        target: uint8 (H, W, 3) to be shown.
        render_mode: ``rgb_array`` or None.

    Raises:
        UserError: for a table of strokes, or if MuJoCo is not there or nothing can render.
    """

    def __init__(
        self,
        table: str = "scene",
        size: int = 64,
        length: int = 5,
        target: NDArray[np.uint8] | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        super().__init__(SceneWorld(action_table(table), size), length, target, render_mode)

    def close(self) -> None:
        """Free the OpenGL context."""
        cast(SceneWorld, self.world).close()
