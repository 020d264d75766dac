"""Films of the arm that follows a feed, and photographs of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.arm.env import ArmImitation
from handgen.arm.evaluation import Act, action_for
from handgen.arm.overlay import VIDEO_SIZE, side_by_side
from handgen.errors import UserError

DECISIONS = 2
"""For each picture: the second sees what the first has done."""


def follow(env: ArmImitation, act: Act, count: int) -> Tensor:
    """Let the arm imitate one picture of a feed after the other, from the pose it is in.

    Args:
        env: of one feed.
        act: the mean action.
        count: pictures at most; a film that is shorter ends sooner.

    Returns:
        Target, arm and overlay at each decision, uint8 (T, 3, H, 3 H).

    Raises:
        UserError: if the feed shows no hand at all.
    """
    frames: list[Tensor] = []
    feed = env.feeds[0]
    total = min(count, len(feed)) if len(feed) else count
    for number in range(total):
        options: dict[str, Any] = {"keep_pose": number > 0, **({} if feed.in_order else {"index": number})}
        try:
            obs, _ = env.reset(seed=0 if number == 0 else None, options=options)
        except UserError:
            if not frames:
                raise
            break  # the film is over
        for _ in range(DECISIONS):
            obs, *_ = env.step(action_for(env, act, obs))
            picture = side_by_side(env.target, env.simulator.camera(VIDEO_SIZE)[0], env.robot_mask, VIDEO_SIZE)
            frames.append(torch.from_numpy(np.moveaxis(picture, 2, 0).copy()))
    return torch.stack(frames)


def photographed(env: ArmImitation, act: Act, indices: Sequence[int], size: int) -> Tensor:
    """The arm after it has imitated targets of a feed, float (N, 3, ``size``, ``size``) in [0, 1].

    Args:
        env: of one feed.
        act: the mean action.
        indices: numbers of the targets.
        size: of a picture.
    """
    pictures = []
    for index in indices:
        obs, _ = env.reset(options={"index": int(index)})
        for _ in range(env.episode_decisions):
            obs, *_ = env.step(action_for(env, act, obs))
        pictures.append(torch.from_numpy(np.moveaxis(env.simulator.camera(size)[0], 2, 0).copy()))
    return torch.stack(pictures).float() / 255
