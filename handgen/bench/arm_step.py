"""Steps of the arm's environment a second: ours against the original's way of doing them, in turn.

The original sets the targets of one part of the arm after the other, with a step of the simulation after each, then
renders twice through ``getCameraImage``, once for the mask (a threshold of the grey picture) and once for the picture,
in a world with a chequered floor and shadows. So does the reference, with this suite's arm in place of the original's
meshes, which have far more triangles. Ours simulates twice as long in four steps, as the experiments do, and

- ``arm_step``: gives out the same, a picture and the reward of a mask, from one render without floor and shadow;
- ``arm_step_processes``: the same in as many processes as there are cores, where there are several;
- ``arm_step_masks``: draws the silhouette from where the links are, without a picture, as ``arm_sac`` learns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from handgen.arm.body import HIGH, LOW
from handgen.arm.env import ArmImitation
from handgen.arm.segmentation import robot_mask_by_grey
from handgen.arm.simulator import ArmSimulator
from handgen.bench._sides import compared
from handgen.datamodules.env_processes import EnvProcesses
from handgen.processes import usable_cores
from handgen.results import Record

SIZE = 56
PARTS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10,), (11,), ())
"""Joints that the original sets before each of its eight steps of the simulation, 1/240 s each."""
SUBSTEPS = 4
"""Ours, as in all experiments, 1/60 s each."""


class Reference:
    """The original's step."""

    def __init__(self) -> None:
        import pybullet_data

        self.simulator = ArmSimulator()
        bullet, client = self.simulator.bullet, self.simulator.client
        bullet.setTimeStep(1.0 / 240.0, physicsClientId=client)
        bullet.loadURDF(f"{pybullet_data.getDataPath()}/plane.urdf", physicsClientId=client)

    def step(self, action: np.ndarray[Any, Any]) -> tuple[Any, float]:
        """Set targets, step after each part of the arm, render twice, count pixels of the mask."""
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


class InProcesses:
    """The environment of the same pictures, side by side in worker processes.

    Args:
        processes: that run one each.
        settings: of the environment.
    """

    def __init__(self, processes: int, settings: dict[str, Any]) -> None:
        self.envs = EnvProcesses("handgen/ArmImitation-v0", processes, processes, env_kwargs=settings)
        self.envs.reset(list(range(processes)))
        self.low, self.high = np.array(LOW, np.float32), np.array(HIGH, np.float32)

    def step(self, action: np.ndarray[Any, Any]) -> Any:
        """The same action in all."""
        scaled = (action - self.low) / (self.high - self.low) * 2.0 - 1.0
        return self.envs.step(torch.from_numpy(scaled).expand(self.envs.num_envs, -1))


def measure(runs: int = 7, steps: int = 300, processes: int | None = None) -> list[Record]:
    """Measure all in turn.

    Args:
        runs: Runs of each.
        steps: Of a run, of each environment.
        processes: For ``arm_step_processes``; None takes the number of cores.

    Returns:
        ``arm_step/ours`` and ``arm_step/reference`` (env steps/s, medians), ``arm_step/ratio`` (of neighbouring runs),
        and the same of ``arm_step_processes`` and ``arm_step_masks``, with the extremes of the runs as ``low`` and
        ``high``.
    """
    processes = processes or usable_cores()
    settings: dict[str, Any] = {"size": SIZE, "substeps": SUBSTEPS, "episode_decisions": runs * steps + 1, "epsilon": 0}
    pictures, masks = ArmImitation(**settings), ArmImitation(observe="masks", renderer="drawn", **settings)
    for env in (pictures, masks):
        env.reset(seed=0)
    reference = Reference()
    steppers: dict[str, Callable[[Any], Any]] = {"arm_step": pictures.step, "arm_step_masks": masks.step}
    several = InProcesses(processes, settings) if processes > 1 else None
    if several is not None:
        steppers["arm_step_processes"] = several.step
    actions = np.random.default_rng(0).uniform(LOW, HIGH, (steps, 12)).astype(np.float32)
    rates: dict[str, list[float]] = {name: [] for name in ("reference", *steppers)}
    for _ in range(runs):
        for name, step in {"reference": reference.step, **steppers}.items():
            start = time.perf_counter()
            for action in actions:
                step(action)
            count = steps * (processes if name == "arm_step_processes" else 1)
            rates[name].append(count / (time.perf_counter() - start))
    pictures.close()
    masks.close()
    reference.simulator.close()
    if several is not None:
        several.envs.close()
    return [
        record
        for what in steppers
        for record in compared(what, unit_of(what, processes), rates[what], rates["reference"])
    ]


def unit_of(what: str, processes: int) -> str:
    """The unit of one way of ours, with what it gives and how many share the work."""
    output = "silhouettes alone" if what == "arm_step_masks" else "picture and reward"
    used = f"{processes} processes (reference: 1)" if what == "arm_step_processes" else "1 process"
    return f"env steps/s, {SIZE} x {SIZE}, {output}, {used}"
