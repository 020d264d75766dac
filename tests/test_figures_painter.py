"""Learning curves of painters from records."""

from pathlib import Path

from handgen.figures_painter import METRIC, REWARDS, draw_painters, since_the_start
from handgen.results import Record


def record(experiment: str, metric: str, value: float) -> Record:
    return Record(experiment, "mnist", "rl", metric, value, seeds=[0], machine="m", versions="v", commit="c")


def test_rewards_are_compared_when_both_have_records(tmp_path: Path) -> None:
    records = [record(name, f"{METRIC}@{k}", 0.2 + 0.1 * k) for name in REWARDS for k in (0, 1)]
    assert [round(point.value, 3) for point in since_the_start(records)] == [1.0, 1.5] * 2
    assert draw_painters(records[:2], tmp_path) == []
    (path,) = draw_painters(records, tmp_path)
    assert path.name == "spiral_rewards.png" and path.stat().st_size > 5000
