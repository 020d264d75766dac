"""The arm's curves: which records they show, and that they are drawn."""

from pathlib import Path

from handgen.figures_arm import draw_arms, read_curves
from handgen.results import Record


def record(experiment: str, steps: str, value: float, seed: int = 0, dataset: str = "synthetic") -> Record:
    return Record(
        experiment, dataset, "", f"mismatch@{steps}", value, seeds=[seed], commit="x", machine="x", versions="x"
    )


def test_curves_hold_every_seed_at_its_steps() -> None:
    records = [record("arm_sac", "2k", 0.04), record("arm_sac", "2k", 0.06, seed=1), record("arm_sac", "0", 0.2)]
    other = Record("arm_sac", "synthetic", "rl", "mismatch", 0.03, commit="x", machine="x", versions="x")
    assert read_curves([*records, other, record("vae", "2k", 1.0)]) == {
        ("arm_sac", "synthetic"): {2000: [0.04, 0.06], 0: [0.2]}
    }


def test_the_figure_waits_for_two_agents(tmp_path: Path) -> None:
    ours = [record("arm_sac", "1k", 0.05), record("arm_sac", "2k", 0.04)]
    assert draw_arms(ours, tmp_path) == []
    (path,) = draw_arms([*ours, record("arm_actor_critic", "10k", 0.3)], tmp_path)
    assert path.name == "arm_curves.png" and path.stat().st_size > 5_000
