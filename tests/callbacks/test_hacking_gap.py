"""The reward-hacking gap and the table of before and after, on numbers worked by hand."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from handgen.callbacks.before_after import before_after_table
from handgen.callbacks.hacking_gap import HackingGap, draw_gap, gap
from handgen.results import Measurement


class Brighter:
    """Accepts images brighter than a threshold."""

    sensitivity, specificity = 1.0, 1.0

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def verdict(self, image: Tensor) -> SimpleNamespace:
        return SimpleNamespace(valid=image.flatten(1).mean(1) > self.threshold)


JUDGES = {"judge_a": Brighter(0.25), "judge_b": Brighter(0.65), "geometric": Brighter(0.85)}


def greys() -> Tensor:
    """Ten images, of brightness 0.0 to 0.9."""
    return (torch.arange(10) * 25.5).round().to(torch.uint8)[:, None, None, None].expand(10, 3, 8, 8)


def test_the_gap_by_hand() -> None:
    found = gap(greys(), JUDGES, "judge_a")
    rates = [found[f"valid_rate/{name}"] for name in JUDGES]
    assert [round(rate, 3) for rate in rates] == [0.7, 0.3, 0.1]
    assert round(found["gap/judge_b"], 3) == 0.4 and round(found["gap/geometric"], 3) == 0.6
    assert "gap/judge_a" not in found


def test_a_figure_and_a_state_that_goes_on(tmp_path: Path) -> None:
    curve = [{"updates": float(step), **gap(greys(), JUDGES, "judge_a")} for step in (0, 10, 20)]
    assert draw_gap(curve, "judge_a", tmp_path / "gap.png").stat().st_size > 3000
    first, second = HackingGap(), HackingGap()
    first.curve = curve
    second.load_state_dict(first.state_dict())
    assert second.curve == curve


def test_before_stands_above_after() -> None:
    def rate(variant: str, value: float) -> Measurement:
        return Measurement("valid_rate/strictest", value, value - 0.05, value + 0.05, 1000, variant)

    table = before_after_table([rate("tuner", 0.9), rate("prior", 0.0), rate("gmm", 0.5)], "gmm", "tuner")
    assert list(table.columns[0].cells) == ["before (gmm)", "after (tuner)"]
    assert list(table.columns[1].cells) == ["0.500 [0.450, 0.550]", "0.900 [0.850, 0.950]"]
    assert list(table.columns[2].cells) == ["-", "-"]
