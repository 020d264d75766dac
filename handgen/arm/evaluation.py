"""How well an arm imitates hands that it has not seen, in PyBullet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.arm.env import ArmImitation, side_by_side
from handgen.episodes import mean_measurement
from handgen.results import Measurement

Image = NDArray[np.uint8]
Act = Callable[[Tensor], Tensor]
"""Observations (N, C, H, 2 H) to actions (N, 12) in [-1, 1]."""


@dataclass(frozen=True)
class Imitations:
    """What became of some targets, after the last decision of each episode.

    Attributes:
        mismatch: (n,) share of pixels that differ. iou: (n,). success: (n,) 0 or 1.
        joint_error: (n,) in radians, NaN where the truth is not known.
        first_mismatch: (n,) after the first decision: what looking at the result adds.
        pictures: of the first ones, target, arm and overlay side by side, uint8 (H, 3 H, 3).
    """

    mismatch: Tensor
    iou: Tensor
    success: Tensor
    joint_error: Tensor
    first_mismatch: Tensor
    pictures: list[Image]


def imitate_targets(env: ArmImitation, act: Act, indices: Sequence[int], shown: int = 0, size: int = 112) -> Imitations:
    """Imitate targets one after the other.

    Episodes are played to their time limit even after success, so that all have the same number of decisions.

    Args:
        env: of one feed.
        act: the mean action.
        indices: numbers of the targets.
        shown: imitations to keep as pictures, spread evenly.
        size: of a picture.
    """
    rows: list[tuple[float, ...]] = []
    pictures: list[Image] = []
    kept = {indices[place] for place in chosen(len(indices), shown)}
    for index in indices:
        obs, info = env.reset(options={"index": int(index)})
        first = 1.0
        for decision in range(env.episode_decisions):
            obs, _, _, _, info = env.step(action_for(env, act, obs))
            first = float(info["mismatch"]) if decision == 0 else first
        rows.append((info["mismatch"], info["iou"], info["success"], info.get("joint_error", float("nan")), first))
        if index in kept:
            pictures.append(side_by_side(env.target, env.simulator.camera(size)[0], env.robot_mask, size))
    mismatch, iou, success, joint_error, first_mismatch = torch.tensor(rows, dtype=torch.float64).T
    return Imitations(mismatch, iou, success, joint_error, first_mismatch, pictures)


def action_for(env: ArmImitation, act: Act, obs: Any) -> NDArray[np.float32]:
    """An action in the environment's own units, (12,)."""
    with torch.no_grad():
        action = act(torch.from_numpy(np.asarray(obs))[None])[0].cpu().numpy()
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    scaled: NDArray[np.float32] = (low + 0.5 * (action + 1.0) * (high - low)).astype(np.float32)
    return scaled


def chosen(total: int, count: int) -> list[int]:
    """Numbers of ``count`` of ``total`` targets, spread evenly; all where there are fewer."""
    return [int(place) for place in np.linspace(0, total - 1, min(total, count)).round()] if count else []


def measure(found: Imitations, dataset: str, variant: str) -> list[Measurement]:
    """The figures of one data set, with Student's 95% intervals."""
    named = {"mismatch": found.mismatch, "iou": found.iou, "success": found.success}
    named["mismatch_first"] = found.first_mismatch
    if not found.joint_error.isnan().any():
        named["joint_error_rad"] = found.joint_error
    measured = [mean_measurement(name, values, variant) for name, values in named.items()]
    return [Measurement(**{**vars(m), "dataset": dataset}) for m in measured]
