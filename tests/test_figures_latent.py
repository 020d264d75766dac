"""The figure of the ladder: calls and rates by hand, and a file where there are records."""

from pathlib import Path

import pytest

from handgen.figures_latent import draw_ladders, joined, ladder_points, loss_tuner_point
from handgen.results import Record


def record(variant: str, metric: str, value: float, seed: int = 0, dataset: str = "synthetic") -> Record:
    experiment = "vae_sac" if dataset == "synthetic" else f"vae_sac_{dataset}"
    return Record(experiment, dataset, variant, metric, value, seeds=[seed], machine="m", versions="v", commit="c")


def ladder(dataset: str = "synthetic") -> list[Record]:
    records = [record("reconstruction", "valid_rate/strictest", 0.9, dataset=dataset)]
    for seed, rate in enumerate((0.25, 0.75)):
        records += [
            record("best_of_4", "valid_rate/strictest", rate, seed, dataset),
            record("best_of_4", "decoder_calls_per_valid", 4.0 / rate, seed, dataset),
        ]
    return records


def test_points_are_calls_per_sample_and_rates() -> None:
    assert ladder_points(ladder()) == {"reconstruction": (None, 0.9), "best_of_4": (4.0, 0.5)}


def test_points_on_each_other_share_a_label() -> None:
    points = {"prior": (1.0, 0.99), "temperature_0.8": (1.05, 0.98), "gmm": (1.0, 0.2), "best_of_4": (4.0, 0.2)}
    assert joined(points) == [("gmm", 1.0, 0.2), ("prior, temperature_0.8", 1.0, 0.99), ("best_of_4", 4.0, 0.2)]


def test_the_loss_delta_tuner_stands_beside_the_ladder_of_its_data() -> None:
    records = ladder()
    for dataset, value in (("synthetic", 0.25), ("hands11k", 0.75)):
        own = Record(
            "vae_sac_loss", dataset, "prior", "valid_rate/strictest", value, machine="m", versions="v", commit="c"
        )
        records.append(own)
    assert loss_tuner_point(records, ladder()) == {"loss-delta tuner": (None, 0.25)}


@pytest.mark.parametrize(("records", "names"), [([], set()), (ladder(), {"vae_sac_ladder.png"})])
def test_a_figure_where_there_are_records(records: list[Record], names: set[str], tmp_path: Path) -> None:
    assert {path.name for path in draw_ladders(records, tmp_path)} == names
    assert all((tmp_path / name).stat().st_size > 3000 for name in names)
