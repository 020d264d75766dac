"""The arm in PyBullet: position control, and one render for picture and mask."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handgen.arm.body import CAMERA_DISTANCE, CAMERA_HEIGHT, FIELD_OF_VIEW, FITTED, HIGH, JOINTS, LOW, Body, mirrored
from handgen.arm.drawing import draw_mask
from handgen.arm.geometry import FOCAL_LENGTH
from handgen.arm.urdf import links, write_urdf
from handgen.errors import UserError

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

NEAR, FAR = 0.5, 6.0
FORCE = 500.0
"""Newton metres: the published 0.5 for wrist and elbow cannot hold the hand against gravity."""
TIME_STEP = 1.0 / 60.0
"""Seconds: nothing collides here, and four of these steps do what sixteen of PyBullet's own would."""
GAIN = 0.9
"""Share of an angle's error that one step of the simulation removes."""


class ArmSimulator:
    """An arm in a PyBullet world of its own; several may live in one process.

    Args:
        body: the arm's measures; the thumb is on the left.
        mirror: put it on the right.
        gui: show a window.
        urdf: file of another arm with the same joints.

    Raises:
        UserError: if PyBullet is absent, no window can be opened, or the URDF is broken or lacks joints.
    """

    def __init__(self, body: Body = FITTED, mirror: bool = False, gui: bool = False, urdf: str | None = None) -> None:
        self.bullet = import_bullet()
        body = mirrored(body) if mirror else body
        self.client = self._connect(gui)
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(urdf) if urdf is not None else write_urdf(body, Path(folder))
                self.arm = self._load(path)
            self.joints_by_name = self._joints()
        except BaseException:
            self.close()  # PyBullet has room for a thousand worlds, and keeps those that nobody closes
            raise
        self.order = [self.joints_by_name[name] for name in JOINTS]
        self.shape = Shape(body) if urdf is None else None
        self.bullet.setTimeStep(TIME_STEP, physicsClientId=self.client)
        self.bullet.setGravity(0.0, 0.0, -9.81, physicsClientId=self.client)
        eye, target = (0.0, -CAMERA_DISTANCE, CAMERA_HEIGHT), (0.0, 0.0, CAMERA_HEIGHT)
        self.view = self.bullet.computeViewMatrix(eye, target, (0.0, 0.0, 1.0))
        self._projections: dict[int, list[float]] = {}

    def _connect(self, gui: bool) -> int:
        """Open a world.

        Raises:
            UserError: if a window is asked for and there is no display, or it does not answer.
        """
        if gui and sys.platform == "linux":  # PyBullet would end the program
            if not os.environ.get("DISPLAY"):
                raise UserError("render_mode=human needs a display, and there is none: leave it out, or set DISPLAY")
            if not display_answers():
                raise UserError(f"render_mode=human: the display {os.environ['DISPLAY']} does not answer: set DISPLAY")
        try:
            client: int = self.bullet.connect(self.bullet.GUI if gui else self.bullet.DIRECT)
        except self.bullet.error as error:
            raise UserError(f"PyBullet could not open a world: {error}") from None
        if client < 0:
            raise UserError("PyBullet could not open a world" + (": is there a display?" if gui else ": close some"))
        return client

    def _load(self, path: Path) -> int:
        """Load the arm, fixed to the world.

        Raises:
            UserError: if PyBullet cannot read it.
        """
        if not path.is_file():
            raise UserError(f"no such URDF: {path}")
        try:
            with silenced():
                arm: int = self.bullet.loadURDF(str(path), useFixedBase=True, physicsClientId=self.client)
        except self.bullet.error as error:
            raise UserError(f"PyBullet cannot load {path}: {error}") from None
        return arm

    def _joints(self) -> dict[str, int]:
        """Joint name to number.

        Raises:
            UserError: if one of the twelve is absent.
        """
        count = self.bullet.getNumJoints(self.arm, physicsClientId=self.client)
        named = [self.bullet.getJointInfo(self.arm, i, physicsClientId=self.client)[1].decode() for i in range(count)]
        missing = [name for name in JOINTS if name not in named]
        if missing:
            raise UserError(f"the URDF has no joint {missing[0]}: an arm needs {', '.join(JOINTS)}")
        return {name: named.index(name) for name in JOINTS}

    def place(self, joints: NDArray[np.floating[Any]]) -> None:
        """Put the arm at rest at angles (12,) in radians, at once."""
        for number, angle in zip(self.order, joints, strict=True):
            self.bullet.resetJointState(self.arm, number, float(angle), physicsClientId=self.client)

    def move(self, targets: NDArray[np.floating[Any]], substeps: int) -> None:
        """Drive the joints towards angles (12,) in radians.

        Args:
            targets: clipped to the joints' ranges.
            substeps: steps of the simulation, 1/60 s each.
        """
        self.bullet.setJointMotorControlArray(
            self.arm,
            self.order,
            self.bullet.POSITION_CONTROL,
            targetPositions=np.clip(targets, LOW, HIGH).tolist(),
            forces=[FORCE] * len(self.order),
            positionGains=[GAIN] * len(self.order),
            physicsClientId=self.client,
        )
        for _ in range(substeps):
            self.bullet.stepSimulation(physicsClientId=self.client)

    def joints(self) -> NDArray[np.float64]:
        """Angles (12,) in radians."""
        states = self.bullet.getJointStates(self.arm, self.order, physicsClientId=self.client)
        return np.array([state[0] for state in states])

    def projection(self, size: int) -> list[float]:
        """The camera's projection: TinyRenderer's pixels lie half a pixel up and to the right, which is taken back."""
        if size not in self._projections:
            matrix = list(self.bullet.computeProjectionMatrixFOV(math.degrees(FIELD_OF_VIEW), 1.0, NEAR, FAR))
            matrix[8] += 1.0 / size
            matrix[9] += 1.0 / size
            self._projections[size] = matrix
        return self._projections[size]

    def camera(self, size: int) -> tuple[Image, Mask]:
        """What the camera sees: picture uint8 (size, size, 3) and where the arm is, bool (size, size)."""
        _, _, pixels, _, ids = self.bullet.getCameraImage(
            size,
            size,
            self.view,
            self.projection(size),
            shadow=0,
            lightDirection=(1.0, -3.0, 3.0),
            renderer=self.bullet.ER_TINY_RENDERER,
            flags=0,
            physicsClientId=self.client,
        )
        picture = np.asarray(pixels, np.uint8).reshape(size, size, 4)[:, :, :3]
        return np.ascontiguousarray(picture), np.asarray(ids).reshape(size, size) == self.arm

    def mask(self, size: int) -> Mask:
        """Where the arm is, bool (size, size), drawn from where its links are in a fraction of a renderer's time.

        Raises:
            UserError: if the arm came from a file, whose shape is not known.
        """
        if self.shape is None:
            raise UserError("masks of an arm from a URDF need renderer=bullet")
        states = self.bullet.getLinkStates(
            self.arm, self.order, computeForwardKinematics=1, physicsClientId=self.client
        )
        return self.shape.draw(np.array([state[4] for state in states]), np.array([state[5] for state in states]), size)

    def close(self) -> None:
        """Close the world."""
        if self.client >= 0:
            self.bullet.disconnect(physicsClientId=self.client)
            self.client = -1


class Shape:
    """The capsules of an arm's links, as its camera sees them.

    Args:
        body: the arm's measures.
    """

    def __init__(self, body: Body) -> None:
        parts = [(number, *capsule) for number, link in enumerate(links(body)) for capsule in link.capsules]
        self.link = np.array([number for number, *_ in parts])
        self.ends = np.array([[start, end] for _, start, end, _ in parts])
        self.radius = np.array([radius for *_, radius in parts])

    def draw(self, position: NDArray[np.float64], orientation: NDArray[np.float64], size: int) -> Mask:
        """Draw the silhouette.

        Args:
            position: (12, 3) of the links' frames, in the order of `JOINTS`.
            orientation: (12, 4), quaternions (x, y, z, w).
            size: height and width in pixels.
        """
        x, y, z, w = orientation.T
        rows = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        turns = np.array(rows).transpose(2, 0, 1)[self.link]
        points = self.ends @ turns.transpose(0, 2, 1) + position[self.link, None]
        scale = FOCAL_LENGTH / (points[..., 1] + CAMERA_DISTANCE)
        seen = np.stack([points[..., 0], CAMERA_HEIGHT - points[..., 2]], -1) * scale[..., None]
        return draw_mask(seen[:, 0], seen[:, 1], scale * self.radius[:, None], size)


@contextmanager
def silenced() -> Iterator[None]:
    """Send what compiled code writes to stdout and stderr nowhere: PyBullet describes a broken file in many lines."""
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        for stream, _ in kept:
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


def display_answers() -> bool:
    """Whether an X server stands behind ``DISPLAY``."""
    import ctypes
    import ctypes.util

    library = ctypes.util.find_library("X11")
    if library is None:
        return False
    x11 = ctypes.CDLL(library)
    x11.XOpenDisplay.restype, x11.XCloseDisplay.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(display)
    return bool(display)


def import_bullet() -> Any:
    """PyBullet.

    Raises:
        UserError: if it is not installed.
    """
    try:
        with silenced():  # it tells when it was built
            import pybullet
    except ImportError:
        raise UserError(
            "the arm needs PyBullet, which has wheels for Python 3.11 alone: make setup with Python 3.11"
        ) from None
    return pybullet
