"""How well an arm imitates hands that it has not seen, in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.arm.body import FITTED
from handgen.arm.drawing import visible_digits
from handgen.arm.env import ArmImitation
from handgen.arm.geometry import as_tensors
from handgen.arm.overlay import side_by_side
from handgen.arm.signs import digits_right
from handgen.episodes import mean_measurement
from handgen.results import Measurement

Image = NDArray[np.uint8]
Act = Callable[[Tensor], Tensor]
"""Observations (N, C, H, 2 H) to actions (N, 12) in [-1, 1]."""
VISIBLE = 10 / 56**2
"""Share of a silhouette's pixels that a digit must add to be seen in it."""
BOOTSTRAPS = 2_000


@dataclass(frozen=True)
class Imitations:
    """What became of some targets, after the last decision of each episode.

    Attributes:
        mismatch: (n,) share of pixels that differ. iou: (n,). success: (n,) 0 or 1.
        joint_error: (n,) in radians, NaN where the truth is not known.
        visible_joint_error: (n,) the same over wrist, elbow and the digits that the target's silhouette shows: a finger
            before the palm can be bent in any way.
        first_mismatch: (n,) after the first decision: what looking at the result adds.
        digits_right: (n,) 0 or 1, whether the digits that are raised are the right ones, NaN where nobody has said.
        persons: (n) whose hands they are; every target another's where that is not known.
        pictures: of some, target, arm and overlay side by side, uint8 (H, 3 H, 3).
    """

    mismatch: Tensor
    iou: Tensor
    success: Tensor
    joint_error: Tensor
    visible_joint_error: Tensor
    first_mismatch: Tensor
    digits_right: Tensor
    persons: list[str]
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
        errors = joint_errors(env.target.joints, info["joints"], env.size)
        right = digits_right(env.feeds[0].digits(int(index)), info["joints"])
        rows.append((info["mismatch"], info["iou"], info["success"], *errors, first, right))
        if index in kept:
            pictures.append(side_by_side(env.target, env.simulator.camera(size)[0], env.robot_mask, size))
    known = getattr(env.feeds[0], "persons", None)
    persons = [known[index] if known else str(index) for index in indices]
    mismatch, iou, success, error, visible_error, first_mismatch, right = torch.tensor(rows, dtype=torch.float64).T
    return Imitations(mismatch, iou, success, error, visible_error, first_mismatch, right, persons, pictures)


def joint_errors(truth: NDArray[np.float64] | None, joints: NDArray[np.float64], size: int) -> tuple[float, float]:
    """Mean error of all joints, and of those that the silhouette of the truth shows, in radians.

    Args:
        truth: (12,), or None where it is not known: the errors are NaN.
        joints: (12,).
        size: height and width of the silhouette.
    """
    if truth is None:
        return math.nan, math.nan
    digits = visible_digits(as_tensors(FITTED), torch.from_numpy(truth).float(), size, round(VISIBLE * size**2))
    shown = np.append(digits.repeat(2), [True, True])
    error = np.abs(joints - truth)
    return float(error.mean()), float(error[shown].mean())


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
    """The figures of one data set, with 95% intervals: of the persons where some are shown several times."""
    named = {"mismatch": found.mismatch, "iou": found.iou, "success": found.success}
    named["mismatch_first"] = found.first_mismatch
    if not found.joint_error.isnan().any():
        named |= {"joint_error_rad": found.joint_error, "joint_error_visible_rad": found.visible_joint_error}
    if not found.digits_right.isnan().any():
        named["digits_right"] = found.digits_right
    measured = [person_measurement(name, values, found.persons, variant) for name, values in named.items()]
    return [replace(measurement, dataset=dataset) for measurement in measured]


def person_measurement(metric: str, values: Tensor, persons: Sequence[str], variant: str = "") -> Measurement:
    """A mean with a 95% interval that takes one person's pictures for no more than they are.

    Student's interval of the mean where every picture is another person's; else persons are drawn with replacement,
    each with all their pictures (Field and Welsh 2007, the cluster bootstrap).

    Args:
        metric: name of the metric.
        values: (n,) one for each picture.
        persons: whose it is.
        variant: which of several ways.
    """
    names = sorted(set(persons))
    if len(names) == len(values):
        return mean_measurement(metric, values, variant)
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    rows = [names.index(person) for person in persons]
    np.add.at(sums, rows, values.numpy())
    np.add.at(counts, rows, 1.0)
    drawn = np.random.default_rng(0).integers(len(names), size=(BOOTSTRAPS, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return Measurement(metric, float(values.mean()), float(low), float(high), len(values), variant)
