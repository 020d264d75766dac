"""Scenes of a few solid objects on a floor, put there one after the other and drawn by MuJoCo.

Ganin et al. 2018, arXiv:1804.01118, section 4: up to five objects of four kinds, on a grid of 16 x 16 places, in three
sizes and 64 colours. One model holds every object that there can be, hidden; an action shows one. Nothing moves.
"""

from __future__ import annotations

import atexit
import copy
import math
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.errors import UserError, check_ranges
from handgen.opengl import choose_backend
from handgen.painter.actions import FLAG, SCENE_SIZES, SHAPES, ActionTable, action_table

MOST_OBJECTS = 5
LARGEST_SIZE = 512
"""Pixels: side of the picture that the model has room for."""
FLOOR_M = 1.0
"""Half the width of the floor that places are on, metres."""
CAMERA_BEHIND_M, CAMERA_ABOVE_M = 2.15, 2.9
CAMERA_UP = (0.0, 0.8, 0.6)
"""Which way is up in the picture; the camera looks along (0, 0.6, -0.8)."""
FIELD_OF_VIEW = 45
"""Degrees, of the height of the picture."""

GEOMS = "\n".join(
    f'<geom name="{shape}{slot}" type="{shape}" size="0.1 0.1 0.1" rgba="0 0 0 0" contype="0" conaffinity="0"/>'
    for slot in range(MOST_OBJECTS)
    for shape in SHAPES
)
# A thin box for a floor: a plane is drawn as a grid of squares, which takes longer than everything else together. Few
# slices: at 64 pixels a finer sphere looks the same.
MODEL = f"""
<mujoco>
  <visual>
    <global offwidth="512" offheight="512" fovy="{FIELD_OF_VIEW}"/>
    <quality shadowsize="0" offsamples="0" numslices="16" numstacks="8" numquads="2"/>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.3 0.3 0.3" specular="0.1 0.1 0.1"/>
  </visual>
  <worldbody>
    <light pos="0 -1 3" dir="0 0.35 -1" directional="true" castshadow="false" diffuse="0.5 0.5 0.5"/>
    <camera name="above" pos="0 {-CAMERA_BEHIND_M} {CAMERA_ABOVE_M}" xyaxes="1 0 0 {" ".join(map(str, CAMERA_UP))}"/>
    <geom type="box" size="4 4 0.01" pos="0 0 -0.01" rgba="0.85 0.85 0.85 1" contype="0" conaffinity="0"/>
    {GEOMS}
  </worldbody>
</mujoco>
"""


def seen_at(place: Tensor) -> Tensor:
    """Where in a picture the middle of an object is seen that stands at a place, (..., 2) in [0, 1] each."""
    _, up_y, up_z = CAMERA_UP
    x, y = (2.0 * place[..., 0] - 1.0) * FLOOR_M, (1.0 - 2.0 * place[..., 1]) * FLOOR_M + CAMERA_BEHIND_M
    z = SCENE_SIZES[1] - CAMERA_ABOVE_M
    scale = 0.5 / math.tan(math.radians(0.5 * FIELD_OF_VIEW)) / (up_z * y - up_y * z)
    return torch.stack([0.5 + scale * x, 0.5 - scale * (up_y * y + up_z * z)], dim=-1)


class SceneWorld:
    """N scenes to which objects are added, action by action.

    Args:
        table: what an action is: ``draw`` (0 adds nothing), ``shape``, ``end``, ``size`` and colours.
        size: height and width of a picture in pixels.
        device: where pictures come back; actions may be on any.

    Raises:
        UserError: for a table of strokes; if MuJoCo is not there, nothing can render, or pictures are to be larger than
            `LARGEST_SIZE`.
    """

    channels = 3
    model_text = MODEL
    without_sky = True

    def __init__(
        self,
        table: ActionTable | None = None,
        size: int = 64,
        device: torch.device | str = "cpu",
    ) -> None:
        check_ranges(size=(size, 1 <= size <= LARGEST_SIZE, f"lie in [1, {LARGEST_SIZE}] pixels as MuJoCo draws it"))
        self.device, self.table, self.size = device, table or action_table("scene"), size
        if "shape" not in self.table.names:
            raise UserError(f"the table {self.table.name!r} is of strokes: scenes take scene or scene_place_first")
        choose_backend()
        try:
            import mujoco
        except ImportError as error:
            raise UserError(f"scenes need {error.name}: pip install -c constraints.txt -e '.[rl]'") from error
        self.mujoco = mujoco
        self.model = mujoco.MjModel.from_xml_string(self.model_text)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)  # once, for camera and light
        self.model.geom_sameframe[:] = 0  # or objects would stay where they were when the model was made
        self.renderer = mujoco.Renderer(self.model, size, size)
        atexit.register(_close, weakref.ref(self.renderer))
        self.geoms = np.array(
            [[self.model.geom(f"{shape}{slot}").id for shape in SHAPES] for slot in range(MOST_OBJECTS)]
        )
        self.reset(0)

    def reset(self, count: int) -> Tensor:
        """Begin N scenes; the empty floors (N, 3, H, W) in [0, 1]."""
        self.objects: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        empty = self._picture([]) if count else torch.ones(3, self.size, self.size, device=self.device)
        self.canvas = empty.expand(count, -1, -1, -1).clone()
        return self.canvas

    def step(self, actions: Tensor) -> Tensor:
        """Act once on each scene.

        Args:
            actions: (N, C), choices as numbers.

        Returns:
            Pictures (N, 3, H, W) in [0, 1]. The sixth object of a scene is not put anywhere.
        """
        values = {name: value.tolist() for name, value in self.table.decode(actions).items()}
        self.canvas = self.canvas.clone()
        for row, objects in enumerate(self.objects):
            if values[FLAG][row] > 0 and len(objects) < MOST_OBJECTS:
                objects.append({name: value[row] for name, value in values.items()})
                self.canvas[row] = self._picture(objects)
        return self.canvas

    def copy(self) -> SceneWorld:
        """The same scenes, to be gone on with apart from these, drawn by the same renderer."""
        twin = copy.copy(self)
        twin.objects = [list(objects) for objects in self.objects]
        return twin

    def picture(self, actions: Tensor) -> Tensor:
        """The scene (3, H, W) of a whole program (T, C), drawn once; the sixth object is left out."""
        values = {name: value.tolist() for name, value in self.table.decode(actions).items()}
        shown = [row for row in range(len(actions)) if values[FLAG][row] > 0][:MOST_OBJECTS]
        return self._picture([{name: value[row] for name, value in values.items()} for row in shown])

    def _picture(self, objects: list[dict[str, Any]]) -> Tensor:
        """Float (3, size, size) in [0, 1]."""
        self.model.geom_rgba[self.geoms.ravel(), 3] = 0.0  # the renderer leaves out what cannot be seen
        for slot, one in enumerate(objects):
            self._show(int(self.geoms[slot, int(one["shape"])]), one)
        self.mujoco.mj_kinematics(self.model, self.data)
        self.renderer.update_scene(self.data, "above")
        if self.without_sky:
            self.renderer.scene.flags[self.mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        pixels = torch.from_numpy(self.renderer.render().copy()).permute(2, 0, 1).float() / 255.0
        return pixels.to(self.device)

    def _show(self, geom: int, one: dict[str, Any]) -> None:
        """Put one object on the floor."""
        half = one["size"]
        shape = SHAPES[int(one["shape"])]
        width, height = (0.7 * half, 0.6 * half) if shape == "capsule" else (half, half)
        self.model.geom_size[geom] = (half, half, half) if shape == "box" else (width, height, 0.0)
        top = half if shape != "capsule" else width + height
        x, y = one["end"]
        self.model.geom_pos[geom] = ((2.0 * x - 1.0) * FLOOR_M, (1.0 - 2.0 * y) * FLOOR_M, top)
        self.model.geom_rbound[geom] = 2.0 * half
        self.model.geom_rgba[geom] = (one["red"], one["green"], one["blue"], 1.0)

    def close(self) -> None:
        """Free the OpenGL context."""
        self.renderer.close()


def _close(renderer: weakref.ref[Any]) -> None:
    """Free what is left when Python ends, before OpenGL has gone: afterwards it would only complain."""
    left = renderer()
    if left is not None:
        left.close()
