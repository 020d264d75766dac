"""Steps of the arm's environment a second: ours against the original's way of doing them, one process each, in turn.

The original sets the targets of one part of the arm after the other, with a step of the simulation after each, then
renders twice through ``getCameraImage``, once for the mask (a threshold of the grey picture) and once for the picture,
in a world with a chequered floor and shadows. So does the reference, with this suite's arm in place of the original's
meshes, which have far more triangles. Ours simulates as long in two steps and draws the silhouette
from the joints' angles (``renderer: drawn``), or renders picture and mask once, without floor and shadow (``renderer:
bullet``).
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from handgen.arm.body import HIGH, LOW
from handgen.arm.env import ArmImitation
from handgen.arm.segmentation import robot_mask_by_grey
from handgen.arm.simulator import ArmSimulator
from handgen.results import Record

SIZE = 56
PARTS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10,), (11,), ())
"""Joints that the original sets before each of its eight steps of the simulation, 1/240 s each."""
SUBSTEPS = 2
"""Ours in the same simulated time, 1/60 s each."""


class Reference:
    """The original's step."""

    def __init__(self) -> None:
        import pybullet_data

        self.simulator = ArmSimulator()
        bullet, client = self.simulator.bullet, self.simulator.client
        bullet.setTimeStep(1.0 / 240.0, physicsClientId=client)
        bullet.loadURDF(f"{pybullet_data.getDataPath()}/plane.urdf", physicsClientId=client)

    def step(self, action: np.ndarray[Any, Any]) -> tuple[Any, float]:
        """Set targets, step after each part of the arm, render twice, count pixels."""
        arm = self.simulator
        for joints in PARTS:
            arm.bullet.setJointMotorControlArray(
                arm.arm,
                [arm.order[joint] for joint in joints],
                arm.bullet.POSITION_CONTROL,
                targetPositions=[float(action[joint]) for joint in joints],
                forces=[500.0] * len(joints),
                physicsClientId=arm.client,
            )
            arm.bullet.stepSimulation(physicsClientId=arm.client)
        mask = robot_mask_by_grey(self._picture())
        return self._picture(), -float(np.count_nonzero(mask))

    def _picture(self) -> Any:
        """A render with default settings."""
        arm = self.simulator
        projection = arm.bullet.computeProjectionMatrixFOV(60.0, 1.0, 0.02, 5.0)
        image = arm.bullet.getCameraImage(SIZE, SIZE, arm.view, projection, physicsClientId=arm.client)[2]
        return np.ascontiguousarray(np.asarray(image, np.uint8).reshape(SIZE, SIZE, 4)[:, :, :3])


def measure(runs: int = 7, steps: int = 300) -> list[Record]:
    """Measure all in turn.

    Args:
        runs: Runs of each.
        steps: Of a run.

    Returns:
        ``arm_step/ours`` (masks), ``arm_step/reference`` (env steps/s, medians), ``arm_step/ratio`` and, for pictures
        and masks of one render, ``arm_step_pictures/...``, with the extremes of the runs as ``low`` and ``high``.
    """
    actions = np.random.default_rng(0).uniform(LOW, HIGH, (steps, 12)).astype(np.float32)
    settings: dict[str, Any] = {"size": SIZE, "substeps": SUBSTEPS, "episode_decisions": runs * steps + 1}
    masks = ArmImitation(observe="masks", renderer="drawn", **settings)
    pictures = ArmImitation(observe="pictures", renderer="bullet", **settings)
    for env in (masks, pictures):
        env.reset(seed=0)
    named: dict[str, Any] = {"reference": Reference().step, "ours": masks.step, "pictures": pictures.step}
    rates: dict[str, list[float]] = {name: [] for name in named}
    for _ in range(runs):
        for name, step in named.items():
            start = time.perf_counter()
            for action in actions:
                step(action)
            rates[name].append(steps / (time.perf_counter() - start))
    unit = f"env steps/s, {SIZE} x {SIZE}, 1/30 s of simulation, 1 process"
    records = []
    for what, ours in (("arm_step", "ours"), ("arm_step_pictures", "pictures")):
        ratios = [a / b for a, b in zip(rates[ours], rates["reference"], strict=True)]
        for name, values in (("ours", rates[ours]), ("reference", rates["reference"]), ("ratio", ratios)):
            records.append(Record("bench", "", unit, f"{what}/{name}", median(values), min(values), max(values), runs))
    return records
