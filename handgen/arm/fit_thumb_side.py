"""``python -m handgen.arm.fit_thumb_side``: learn to tell on which side hands have their thumb, and say how well.

It learns from silhouettes of training hands whose side is known: built-in ones, 11k Hands and Sign-Language-Digits,
of which as many are drawn of each, turned and scaled a little. Persons of the split ``val`` grade it, of ``test`` when
asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.arm.feeds import open_feed
from handgen.arm.sway import swayed
from handgen.arm.thumb_side import WEIGHTS, ThumbSide
from handgen.whole_files import whole_file

FEEDS = ("synthetic", "hands11k", "sign_digits")
SIZE, BATCH_SIZE, LR, WEIGHT_DECAY = 56, 64, 1e-3, 0.05


def silhouettes(name: str, split: str, count: int) -> Tensor:
    """Masks uint8 (N, 56, 56), 0 or 255, of the hands of a data set, thumbs on the left.

    Args:
        name: of the data set.
        split: ``train``, ``val`` or ``test``.
        count: hands at most, spread evenly.
    """
    feed, masks = open_feed(name, split), []
    for row in torch.linspace(0, len(feed) - 1, min(count, len(feed))).long().tolist():
        try:
            masks.append(torch.from_numpy(feed.target(row, SIZE).mask))
        except ValueError:  # no hand is found in it
            continue
    return torch.stack(masks).to(torch.uint8) * 255


def fit(masks: Sequence[Tensor], updates: int, seed: int) -> ThumbSide:
    """Learn from silhouettes of several data sets, all of which weigh the same."""
    torch.manual_seed(seed)
    generator, network = torch.Generator().manual_seed(seed), ThumbSide()
    optimiser = torch.optim.AdamW(network.parameters(), LR, weight_decay=WEIGHT_DECAY)
    everything = torch.cat(list(masks))
    weights = torch.cat([torch.full((len(part),), 1.0 / len(part)) for part in masks])
    for _ in range(updates):
        rows = torch.multinomial(weights, BATCH_SIZE, replacement=True, generator=generator)
        log_odds = network(swayed(everything[rows], generator).float() / 255.0)
        optimiser.zero_grad()
        torch.autograd.backward(F.softplus(-log_odds).mean())
        optimiser.step()
    return network.eval()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m handgen.arm.fit_thumb_side", description=main.__doc__)
    parser.add_argument("--count", type=int, default=4000, help="silhouettes of each data set at most")
    parser.add_argument("--updates", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--test", action="store_true", help="grade it on the split test too, when nothing is to be chosen"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights (default: the package's own)")
    options = parser.parse_args()
    network = fit([silhouettes(name, "train", options.count) for name in FEEDS], options.updates, options.seed)
    for split in ("val", *(("test",) if options.test else ())):
        for name in FEEDS:
            with torch.no_grad():
                right = network(silhouettes(name, split, 500).float() / 255.0) > 0.0
            print(f"{name} {split}: right for {int(right.sum())} of {len(right)}")
    with whole_file(options.out) as partial:
        torch.save(network.state_dict(), partial)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
