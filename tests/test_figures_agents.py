"""Learning curves from records."""

from pathlib import Path

from handgen.figures_agents import DEVIATIONS, FORMS, curves, draw_agents
from handgen.results import Record


def record(experiment: str, variant: str, metric: str, value: float, seed: int = 0) -> Record:
    return Record(
        experiment, "Pendulum-v1", variant, metric, value, seeds=[seed], machine="m", versions="v", commit="c"
    )


def test_curves_sort_steps_and_keep_seeds_apart_from_variants() -> None:
    records = [
        record("sac_pendulum", "sac", "return@10k", 3.0),
        record("sac_pendulum", "sac", "return@2k", 1.0),
        record("sac_pendulum", "sac", "return@2k", 2.0, seed=1),
        record("sac_pendulum", "seed", "return@500", 0.0),
        record("sac_pendulum", "sac", "temperature@2k", 9.0),
    ]
    assert curves(records, "return") == {"sac": {2000: [1.0, 2.0], 10_000: [3.0]}, "seed": {500: [0.0]}}


def test_only_what_has_records_is_drawn(tmp_path: Path) -> None:
    assert draw_agents([], tmp_path) == []
    own = [record("sac_pendulum", "sac", f"{m}@2k", 1.0) for m in ("return", "temperature", "entropy")]
    assert [path.name for path in draw_agents(own, tmp_path)] == ["sac_peer.png"]
    others = [record(DEVIATIONS, form, f"{m}@2k", 1.0) for form in FORMS for m in ("return", "temperature", "entropy")]
    written = draw_agents([*own, *others], tmp_path)
    assert [path.name for path in written] == ["sac_peer.png", "sac_deviations.png"]
    seeing = [record("sac_imm", "sac", f"return@{k}k", 8.0 * k) for k in (25, 50)]
    written += draw_agents(seeing, tmp_path)
    assert written[-1].name == "pixels_returns.png"
    remedied = [
        record(name, "sac", f"return@{k}k", 8.0 * k) for name in ("sac_imm_first", "sac_imm_pole") for k in (25, 50)
    ]
    written += draw_agents([*seeing, *remedied], tmp_path)[1:]
    assert written[-1].name == "pixels_remedies.png"
    assert all(path.stat().st_size > 5000 for path in written)
