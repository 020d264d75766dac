"""``python -m handgen.arm.fit_body``: fit the arm's measures to silhouettes of training hands, and print them.

The robot has no joints that spread its fingers, and one set of bones for everybody's hands; its measures decide how
near it can come to a silhouette at all. They and the poses of all silhouettes are found together by descent, through
the arm's differentiable geometry. Only training splits are used.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.arm.body import DRAWN
from handgen.arm.feeds import open_feed, usable_target
from handgen.arm.geometry import as_tensors, joints_of, soft_silhouette

FEEDS = ("synthetic", "hands11k", "sign_digits")
RESTARTS, STEPS = 8, 120
SEARCH_SIZE, SIZE = 28, 56
FIXED = ("elbow",)
"""The elbow is where framing puts it."""
STAY, STAY_RADII = 0.02, 1.0
"""Weights of the squared change of the measures: the arm is to look like a hand, from wherever it is seen. A finger
that fills the gaps of a closed hand would be a fat finger everywhere else."""

logger = logging.getLogger(__name__)


def targets(feeds: Sequence[str], count: int) -> Tensor:
    """Training silhouettes, ``count`` of each feed, float (N, 56, 56)."""
    masks = []
    for name in feeds:
        feed = open_feed(name, "train")
        rows = torch.linspace(0, len(feed) - 1, min(count, len(feed))).long().tolist()
        masks += [torch.from_numpy(usable_target(feed, row, SIZE).mask) for row in rows]
    return torch.stack(masks).float()


def descend(
    measured: dict[str, Tensor],
    poses: Tensor,
    target: Tensor,
    steps: int,
    softness: tuple[float, float],
    lr: float = 0.0,
    drawn: dict[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Fit poses, and measures where ``lr`` is positive.

    Args:
        measured: of the body.
        poses: (N, 12), actions before the tanh.
        target: (N, h, h).
        steps: of Adam.
        softness: of the silhouettes' edges at the start and at the end.
        lr: learning rate of the measures.
        drawn: what they are to stay near.

    Returns:
        Measures, poses, and the error of each silhouette (N,).
    """
    poses = poses.clone().requires_grad_()
    learnt = {name: value.clone().requires_grad_(lr > 0 and name not in FIXED) for name, value in measured.items()}
    free = [value for value in learnt.values() if value.requires_grad]
    groups = [{"params": [poses], "lr": 0.1}, *([{"params": free, "lr": lr}] if free else [])]
    optimiser = torch.optim.Adam(groups)
    for step in range(steps):
        edge = softness[0] * (softness[1] / softness[0]) ** (step / steps)
        soft = soft_silhouette(learnt, joints_of(torch.tanh(poses)), target.shape[-1], edge)
        errors = (soft - target).square().mean(dim=(1, 2))
        moved = change(learnt, drawn or measured)
        optimiser.zero_grad()
        torch.autograd.backward(errors.sum() + len(errors) * moved)
        optimiser.step()
        poses.data.clamp_(-2.5, 2.5)
    return {name: value.detach() for name, value in learnt.items()}, poses.detach(), errors.detach()


def change(measured: dict[str, Tensor], drawn: dict[str, Tensor]) -> Tensor:
    """What measures pay for being others than those drawn."""
    weights = {name: STAY_RADII if name == "radii" else STAY for name in drawn}
    return torch.stack([weights[name] * (measured[name] - value).square().sum() for name, value in drawn.items()]).sum()


def search(measured: dict[str, Tensor], target: Tensor, generator: torch.Generator) -> Tensor:
    """The best of several descents from random poses for each silhouette, (N, 12)."""
    count = len(target)
    small = F.avg_pool2d(target[:, None], SIZE // SEARCH_SIZE)[:, 0].repeat_interleave(RESTARTS, dim=0)
    poses = torch.randn((count * RESTARTS, 12), generator=generator)
    _, poses, errors = descend(measured, poses, small, STEPS // 2, (0.1, 0.03))
    best = errors.view(count, RESTARTS).argmin(1)
    return poses.view(count, RESTARTS, 12)[torch.arange(count), best]


def fit(target: Tensor, rounds: int, seed: int) -> dict[str, Tensor]:
    """Measures that suit all silhouettes.

    Args:
        target: float (N, 56, 56), thumbs on the left.
        rounds: of searching poses and fitting measures.
        seed: of the poses that the search starts from.
    """
    drawn, generator = as_tensors(DRAWN), torch.Generator().manual_seed(seed)
    measured, poses = drawn, torch.zeros(len(target), 12)
    errors = torch.ones(len(target))
    for number in range(rounds):
        found = search(measured, target, generator)
        soft = soft_silhouette(measured, joints_of(torch.tanh(found)), SIZE, 0.02)
        better = (soft - target).square().mean(dim=(1, 2)) < errors
        poses = torch.where(better[:, None], found, poses)
        measured, poses, errors = descend(measured, poses, target, STEPS, (0.06, 0.02), lr=0.005, drawn=drawn)
        logger.info("round %d: mean squared error %.4f", number + 1, float(errors.mean()))
    return measured


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m handgen.arm.fit_body", description=main.__doc__)
    parser.add_argument("--count", type=int, default=32, help="silhouettes of each feed (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--feeds", nargs="+", default=list(FEEDS), help="data sets (default: all)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    measured = fit(targets(options.feeds, options.count), options.rounds, options.seed)
    for name, value in measured.items():
        print(f"{name}={(value.double() * 1000).round().div(1000).tolist()}")


if __name__ == "__main__":
    main()
