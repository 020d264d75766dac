"""The arm's curves over updates: a warm start keeps its points apart, and is dotted."""

from pathlib import Path

import pytest

from handgen.figures_arm import PUBLISHED, draw_arms, draw_curve, read_curves, warm_start_end
from handgen.results import Record


def point(experiment: str, updates: str, value: float, variant: str) -> Record:
    facts = {"env_steps": 8000, "seeds": [0], "commit": "x", "machine": "x", "versions": "x"}
    return Record(experiment, "hands11k", variant, f"mismatch@{updates}_updates", value, **facts)  # type: ignore[arg-type]


RECORDS = [
    point("arm_sac", "1k", 0.2, "imitation"),
    point("arm_sac", "8k", 0.1, "imitation"),
    point("arm_sac", "9k", 0.05, "rl"),
    point("arm_actor_critic", "25k", 0.3, "rl"),
]


class Panel:
    """Remembers what is drawn on it."""

    def __init__(self) -> None:
        self.lines: list[tuple[list[int], list[float], str]] = []

    def plot(self, x: list[int], y: list[float], style: str, **kwargs: object) -> None:
        self.lines.append((list(x), list(y), style))


def test_evaluations_of_the_warm_start_are_points_of_their_own_and_dotted() -> None:
    curve = read_curves(RECORDS)["arm_sac", "hands11k"]
    assert curve == {1000: [0.2], 8000: [0.1], 9000: [0.05]}
    assert [warm_start_end(RECORDS, name) for name in ("arm_sac", "arm_actor_critic")] == [8000, 0]
    panel = Panel()
    draw_curve(panel, curve, 8000, "C0", "SAC")
    (warm, _, dotted), (rewarded, values, solid), _ = panel.lines
    assert (warm, dotted, rewarded, solid) == ([1000, 8000], ":", [8000, 9000], "-")
    assert values == pytest.approx([10.0, 5.0])


def test_the_figure_shows_the_original_s_curve(tmp_path: Path) -> None:
    assert PUBLISHED[-1] == (20_000_000, pytest.approx(0.15, abs=0.001))
    (path,) = draw_arms(RECORDS, tmp_path)
    assert path.stat().st_size > 10_000
