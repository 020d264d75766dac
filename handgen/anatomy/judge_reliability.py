"""How far a judge can be trusted: what it catches of each kind, at each blur, and on photographs."""

from __future__ import annotations

import torch
from torch import Tensor

from handgen.anatomy.malformations import KINDS, VALID
from handgen.anatomy.metrics import share
from handgen.results import Measurement

BLURS = {"none": 0.0, "mild": 0.6, "strong": 1.2}
"""SD in pixels at 64 px. Mild is about what a VAE's decoder does."""
GROSS = ("missing", "extra", "fused", "no_thumb", "two_thumbs", "blob")
PLANTED = ("intact", "removed", "duplicated", "restored", "fused", "smoothed")
"""What may have been done to a photograph; files and batches hold the index, so new names go to the end."""
HEALTHY = ("intact", "restored", "smoothed")
"""Those that are still right: nothing was done, or only traces of an edit were left."""


def acceptance_threshold(scores: Tensor, acceptance: float) -> Tensor:
    """The score above which the share `acceptance` of the given scores lies."""
    return torch.quantile(scores.float(), 1.0 - acceptance)


def _measured(metric: str, variant: str, flags: Tensor, dataset: str = "") -> Measurement:
    rate = share(flags)
    return Measurement(metric, rate.value, rate.low, rate.high, rate.n, variant, dataset)


def reliability(held_out: dict[str, Tensor]) -> list[Measurement]:
    """Rates with Wilson intervals.

    Args:
        held_out: ``kind`` int64 (N,) and ``score/BLUR`` (N,) per level of `BLURS`; with photographs also ``planted``
            int64 (M,) index into `PLANTED` and ``photo_score`` (M,).

    Returns:
        ``sensitivity/valid`` (share of valid hands accepted), ``sensitivity/KIND`` and ``sensitivity/gross`` (share of
        malformed hands caught) and ``specificity`` (the same of all kinds) with the blur as variant;
        ``real_false_alarm`` and ``real_planted_caught`` with what was done to the photograph as variant; ``all`` are
        the removed and duplicated fingers together.
    """
    kind, found = held_out["kind"], []
    gross = torch.isin(kind, torch.tensor([KINDS.index(name) for name in GROSS]))
    for blur in BLURS:
        accepted = held_out[f"score/{blur}"] > 0
        if (kind == VALID).any():
            found.append(_measured("sensitivity/valid", blur, accepted[kind == VALID]))
        groups = {name: kind == index for index, name in enumerate(KINDS) if index != VALID}
        for name, rows in {**groups, "gross": gross}.items():
            if rows.any():
                found.append(_measured(f"sensitivity/{name}", blur, ~accepted[rows]))
        if (kind != VALID).any():
            found.append(_measured("specificity", blur, ~accepted[kind != VALID]))
    if "planted" in held_out:
        found += _photographs(held_out["planted"], held_out["photo_score"] > 0)
    return found


def _photographs(planted: Tensor, accepted: Tensor) -> list[Measurement]:
    found = []
    for index, name in enumerate(PLANTED):
        rows = planted == index
        if not rows.any():
            continue
        metric = "real_false_alarm" if name in HEALTHY else "real_planted_caught"
        found.append(_measured(metric, name, ~accepted[rows], "hands11k"))
    both = (planted == PLANTED.index("removed")) | (planted == PLANTED.index("duplicated"))
    if both.any():
        found.append(_measured("real_planted_caught", "all", ~accepted[both], "hands11k"))
    return found
