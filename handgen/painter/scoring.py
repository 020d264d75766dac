"""How paintings are scored, and what a discriminator is shown of them: alone, beside targets, or half of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from handgen.errors import UserError
from handgen.painter.rollout import Rollout

CHUNK = 256
Settings = Mapping[str, Any]


def shown(image: Tensor, target: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Pictures as a discriminator takes them.

    Args:
        image: (B, C, H, W).
        target: of the same shape, what they are to show.
        mask: bool (B, 1, H, W), where the picture is shown, with its target elsewhere ("complement").

    Returns:
        (B, C, H, W), or (B, 2 C, H, W) of pictures and targets without a mask.
    """
    if target is None:
        return image
    return torch.cat([image, target], dim=1) if mask is None else torch.where(mask, image, target)


def half(image: Tensor) -> Tensor:
    """A random half of each picture, in squares of four pixels, bool (B, 1, H, W)."""
    count, _, height, width = image.shape
    coarse = torch.rand(count, 1, height // 4, width // 4, device=image.device) < 0.5
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)


def noisy(image: Tensor, deviation: float) -> Tensor:
    """Pictures with normal noise on every pixel of every channel."""
    return image + deviation * torch.randn_like(image) if deviation > 0 else image


def taken_so_far(actions: Tensor) -> Tensor:
    """Programs (T + 1, B, T, K) as they are at each time, from actions (T, B, K); what is yet to come is -1."""
    length = len(actions)
    taken = torch.ones(length + 1, length, dtype=torch.bool, device=actions.device).tril(-1)
    return torch.where(taken[:, None, :, None], actions.transpose(0, 1), -1.0)


@contextmanager
def looking_only(module: nn.Module) -> Iterator[None]:
    """In evaluation mode: a spectral norm's power iteration goes on in training mode whenever it is looked at."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@torch.no_grad()
def score_steps(discriminator: nn.Module, rollout: Rollout, h: Settings) -> Tensor:
    """Raw scores (T + 1, B) of all canvases of paintings, from the blank ones to the finished ones.

    Args:
        discriminator: looks at canvases, unless the reward is the squared error.
        rollout: B paintings.
        h: settings of the painter.
    """
    canvases, target = rollout.canvases, rollout.target
    length, count = canvases.shape[:2]
    goal = None if target is None else target.expand(length, *target.shape).flatten(0, 1)
    if h["reward"] == "l2":
        return _less_error(canvases.flatten(0, 1), goal).view(length, count)
    mask = half(rollout.finished).repeat(length, 1, 1, 1) if h["complement"] else None
    seen = shown(canvases.flatten(0, 1), goal, mask).unflatten(0, (length, count))
    # The same noise at all times of a painting: a score changes by what is painted alone.
    seen = (seen + noisy(torch.zeros_like(seen[0]), h["instance_noise"])).flatten(0, 1)
    programs = taken_so_far(rollout.actions).flatten(0, 1) if h["joint"] else None
    with looking_only(discriminator):
        parts = [
            discriminator(
                seen[first : first + CHUNK], actions=None if programs is None else programs[first : first + CHUNK]
            )
            for first in range(0, length * count, CHUNK)
        ]
    return torch.cat(parts).view(length, count)


@torch.no_grad()
def score_canvases(discriminator: nn.Module, canvas: Tensor, target: Tensor | None, h: Settings) -> Tensor:
    """Raw scores (B,) of canvases (B, C, H, W), all of which is looked at, without noise.

    Raises:
        UserError: for a discriminator that judges programs too.
    """
    if h["joint"]:
        raise UserError("a joint discriminator cannot score a canvas without its program")
    if h["reward"] == "l2":
        return _less_error(canvas, target)
    mask = torch.ones_like(canvas[:, :1], dtype=torch.bool) if h["complement"] else None
    with looking_only(discriminator):
        scores: Tensor = discriminator(shown(canvas, target, mask))
    return scores


def _less_error(canvas: Tensor, target: Tensor | None) -> Tensor:
    """Minus the mean squared error (B,)."""
    assert target is not None
    return -(canvas - target).square().flatten(1).mean(1)
