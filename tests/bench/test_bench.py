"""The benchmarks' command line and the VAE's comparison, on tiny networks."""

import copy
import json
from pathlib import Path

import pytest
import torch

from handgen.bench import __main__ as bench
from handgen.bench import vae_step
from handgen.results import Record
from handgen.vae import VAE


def records(value: float) -> list[Record]:
    return [Record(experiment="bench", dataset="synthetic", variant="", metric="x/ratio", value=value)]


def test_both_loops_train_to_the_same_weights() -> None:
    torch.manual_seed(0)
    ours = VAE(image_size=16, latent_dim=4, width=8, lr_warmup_steps=2)
    reference = copy.deepcopy(ours)
    data = vae_step.Batches(torch.rand(2, 4, 3, 16, 16), steps=3)
    for module, timed in ((ours, vae_step.seconds_in_lightning), (reference, vae_step.seconds_in_a_loop)):
        torch.manual_seed(1)
        assert timed(module, data) > 0
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[name], msg=name)


def test_records_of_the_comparison() -> None:
    measured = {r.metric: r for r in vae_step.measure(runs=2, steps=2, batch_size=2, image_size=16, width=8)}
    assert set(measured) == {"vae_step/ours", "vae_step/reference", "vae_step/ratio"}
    ratio = measured["vae_step/ratio"]
    assert ratio.low <= ratio.value <= ratio.high
    assert "images/s" in measured["vae_step/ours"].variant


def test_a_newer_record_replaces_the_older_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bench.json"
    other = {"experiment": "bench", "dataset": "", "variant": "", "metric": "other", "value": 1.0}
    file.write_text(json.dumps([other]))
    for value in (1.0, 2.0):
        monkeypatch.setattr(vae_step, "measure", lambda value=value: records(value))
        bench.run(["vae_step"], file)
    kept = {entry["metric"]: entry for entry in json.loads(file.read_text())}
    assert {name: entry["value"] for name, entry in kept.items()} == {"other": 1.0, "x/ratio": 2.0}
    assert kept["x/ratio"]["command"] == "python -m handgen.bench vae_step"


def test_an_unknown_name_ends_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench.main(["nonsense", "--out", str(tmp_path / "bench.json")]) == 2
    assert "vae_step" in capsys.readouterr().err


@pytest.mark.parametrize("name", bench.known())
def test_every_comparison_can_be_measured(name: str) -> None:
    assert callable(__import__(f"handgen.bench.{name}", fromlist=["measure"]).measure)
