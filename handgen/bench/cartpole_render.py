"""Frames of cart-pole swing-up: ours in worker processes against dm_control's default renderer, frames a second.

The reference does what wrappers of published agents do for a frame: eight steps of the task, then ``physics.render`` of
84 x 84 pixels with default flags, in one process. Ours are the environments that agents train on here, with observation
stacks, in as many processes as there are cores; they leave out shadows and reflections and average four pixels instead
of multisampling, so the pictures differ a little. Runs alternate, and medians are compared, so that a busy machine
slows both.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from handgen.bench._sides import compared
from handgen.datamodules.env_processes import EnvProcesses
from handgen.opengl import choose_backend
from handgen.pixels.suite_env import load_task
from handgen.processes import usable_cores
from handgen.results import Record

ENV_ID = "handgen/CartpolePixels-v0"
ACTION_REPEAT = 8
SUPERSAMPLING = 2
WARMUP = 3


class Reference:
    """dm_control as it comes, one frame for each decision.

    Args:
        size: height and width of a frame.
    """

    def __init__(self, size: int) -> None:
        choose_backend()
        self.size = size
        self.env = load_task("cartpole", "swingup", np.random.RandomState(0))

    def seconds(self, frames: int) -> float:
        """Seconds for so many frames."""
        self.env.reset()
        action = np.zeros(1)
        for count in range(WARMUP + frames):
            if count == WARMUP:
                start = time.perf_counter()
            for _ in range(ACTION_REPEAT):
                self.env.step(action)
            self.env.physics.render(self.size, self.size, camera_id=0)
        return time.perf_counter() - start


def seconds_of_ours(envs: EnvProcesses, frames: int) -> float:
    """Seconds for so many frames, over all environments."""
    envs.reset(list(range(envs.num_envs)))
    action = torch.zeros(envs.num_envs, envs.action_dim)
    for count in range(WARMUP + frames // envs.num_envs):
        if count == WARMUP:
            start = time.perf_counter()
        envs.step(action)
    return time.perf_counter() - start


def measure(runs: int = 7, frames: int = 120, size: int = 84, num_processes: int | None = None) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: Runs of each.
        frames: Frames timed in a run.
        size: Height and width of a frame.
        num_processes: Worker processes; None takes the number of cores.

    Returns:
        ``cartpole_render/ours`` and ``cartpole_render/reference`` (frames/s, medians), ``cartpole_render/ratio`` (the
        median of the ratios of neighbouring runs), with the extremes of the runs as ``low`` and ``high``.
    """
    processes = num_processes or usable_cores() or 1
    settings = {"size": size, "action_repeat": ACTION_REPEAT, "supersampling": SUPERSAMPLING}
    envs = EnvProcesses(ENV_ID, 2 * processes, processes, env_kwargs=settings)
    reference = Reference(size)
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    frames -= frames % envs.num_envs
    for _ in range(runs):
        rates["ours"].append(frames / seconds_of_ours(envs, frames))
        rates["reference"].append(frames / reference.seconds(frames))
    envs.close()
    unit = f"frames/s, {size} x {size}, action repeat {ACTION_REPEAT}, {processes} processes"
    return compared("cartpole_render", unit, rates["ours"], rates["reference"], ENV_ID)
