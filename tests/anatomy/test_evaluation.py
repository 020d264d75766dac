import json
import math
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from evaluated import evaluate_images
from torch import Tensor

from handgen.anatomy.evaluation import (
    HELD_OUT,
    Cost,
    evaluate_variant,
    features,
    judge_images,
    prepare_reference,
)
from handgen.errors import UserError
from handgen.results import Measurement


class BrightnessJudge:
    """Accepts images whose mean red exceeds a threshold; its features are 4x4 block means."""

    def __init__(self, threshold: float, sensitivity: float = 0.9, specificity: float = 0.95) -> None:
        self.threshold, self.sensitivity, self.specificity = threshold, sensitivity, specificity
        self.images_seen = 0

    def verdict(self, image: Tensor) -> SimpleNamespace:
        return SimpleNamespace(valid=image[:, 0].flatten(1).mean(dim=1) > self.threshold)

    def features(self, image: Tensor) -> Tensor:
        self.images_seen += len(image)
        return torch.nn.functional.adaptive_avg_pool2d(image, 4).flatten(1)


def pictures(count: int, seed: int, mean: float = 0.5) -> Tensor:
    """Smooth random pictures of varying brightness, uint8 (count, 3, 16, 16)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = mean + 0.12 * torch.randn(count, 3, 4, 4, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, 16) + 0.02 * torch.randn(count, 3, 16, 16, generator=generator)
    return (fine.clamp(0, 1) * 255).to(torch.uint8)


@pytest.fixture
def judges() -> dict[str, BrightnessJudge]:
    return {
        "judge_a": BrightnessJudge(0.45),
        "judge_b": BrightnessJudge(0.48),
        "geometric": BrightnessJudge(0.5),
    }


Judges = dict[str, BrightnessJudge]


def table(measurements: list[Measurement]) -> dict[tuple[str, str], Measurement]:
    return {(m.variant, m.metric): m for m in measurements}


def test_every_metric_of_the_design_is_measured(judges: Judges) -> None:
    train, test = pictures(300, 0), pictures(120, 1)
    cost = {"prior": Cost(seconds=2.0, decoder_calls=240)}
    found = table(evaluate_images({"prior": pictures(120, 2)}, train, test, judges, costs=cost))
    names = {metric for _, metric in found}
    assert names >= {
        *(f"valid_rate/{name}" for name in ("judge_a", "judge_b", "geometric", "strictest")),
        *(f"valid_rate_corrected/{name}" for name in ("judge_a", "judge_b", "geometric", "strictest")),
        "coverage", "density", "kid", "novelty", "sharpness", "skin", "orientation",
        "seconds_per_valid", "decoder_calls_per_valid",
    }  # fmt: skip
    assert all(m.low is None or m.low <= m.value + 1e-9 for m in found.values())
    assert all(m.high is None or m.value <= m.high + 1e-9 for m in found.values())
    json.dumps([asdict(m) for m in found.values()], allow_nan=False)


def test_valid_rates_are_the_shares_the_judges_accept(judges: Judges) -> None:
    images = pictures(200, 2)
    found = table(evaluate_images({"x": images}, pictures(50, 0), pictures(50, 1), judges))
    for name, judge in judges.items():
        share = float((images[:, 0].float().flatten(1).mean(1) / 255 > judge.threshold).float().mean())
        assert found["x", f"valid_rate/{name}"].value == pytest.approx(share)
        corrected = min(1.0, max(0.0, (share - 0.05) / 0.85))
        assert found["x", f"valid_rate_corrected/{name}"].value == pytest.approx(corrected)
    assert found["x", "valid_rate/strictest"].value == found["x", "valid_rate/geometric"].value


def test_a_rewarded_judge_does_not_grade(judges: Judges) -> None:
    images = {"x": pictures(100, 2)}
    train, test = pictures(50, 0), pictures(50, 1)
    found = table(evaluate_images(images, train, test, judges, rewarded=["geometric"]))
    assert found["x", "valid_rate/strictest"].value == found["x", "valid_rate/judge_b"].value
    with pytest.raises(UserError, match="every judge gave reward"):
        evaluate_images(images, train, test, judges, rewarded=list(judges))


def test_cost_per_valid_sample(judges: Judges) -> None:
    train, test, images = pictures(50, 0), pictures(50, 1), pictures(200, 2)
    found = table(evaluate_images({"x": images}, train, test, judges, costs={"x": Cost(10.0, 800)}))
    valid = found["x", "valid_rate/strictest"].value * 200
    assert found["x", "decoder_calls_per_valid"].value == pytest.approx(800 / valid)
    assert found["x", "seconds_per_valid"].value == pytest.approx(10 / valid)


def test_cost_is_left_out_when_nothing_is_valid(judges: Judges) -> None:
    black = torch.zeros(50, 3, 16, 16, dtype=torch.uint8)
    found = table(evaluate_images({"x": black}, pictures(50, 0), pictures(50, 1), judges, costs={"x": Cost(1.0, 50)}))
    assert found["x", "valid_rate/strictest"].value == 0.0
    assert ("x", "seconds_per_valid") not in found


def test_held_out_images_are_the_ceiling(judges: Judges) -> None:
    train, test = pictures(400, 0), pictures(200, 1)
    images = {HELD_OUT: test, "far": pictures(200, 2, mean=0.8), "copies": train[:200]}
    found = table(evaluate_images(images, train, test, judges))
    assert found[HELD_OUT, "novelty"].value == pytest.approx(1.0, abs=1e-6)
    assert found[HELD_OUT, "sharpness"].value == pytest.approx(1.0, abs=1e-6)
    kid = found[HELD_OUT, "kid"]
    assert kid.low < 0 < kid.high
    assert found[HELD_OUT, "coverage"].value > 0.8
    assert found["far", "kid"].value > 20 * abs(kid.value)
    assert found["far", "coverage"].value < 0.1
    assert found["copies", "novelty"].value == 0.0


def test_real_images_are_measured_once(judges: Judges) -> None:
    train, test = pictures(300, 0), pictures(100, 1)
    variants = {str(seed): pictures(100, seed) for seed in range(2, 6)}
    evaluate_images(variants, train, test, judges)
    assert judges["judge_b"].images_seen == 300 + 100 + 4 * 100


def test_more_samples_than_test_images_compare_equal_numbers(judges: Judges) -> None:
    reference = prepare_reference(pictures(300, 0), pictures(80, 1), judges, 500)
    found = table(evaluate_variant("x", pictures(500, 2), reference, judges))
    assert found["x", "coverage"].n == found["x", "kid"].n == 80
    assert found["x", "valid_rate/judge_a"].n == 500


def test_a_useless_judge_has_no_corrected_rate(judges: Judges) -> None:
    judges["judge_a"].specificity = 0.05
    found = table(evaluate_images({"x": pictures(50, 2)}, pictures(50, 0), pictures(50, 1), judges))
    assert ("x", "valid_rate_corrected/judge_a") not in found
    assert math.isfinite(found["x", "valid_rate_corrected/strictest"].value)


def test_batches_do_not_change_verdicts_or_features(judges: Judges, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(30, 0)
    whole, verdicts = features(images, judges), judge_images(images, judges)
    monkeypatch.setattr("handgen.anatomy.evaluation._BATCH", 7)
    assert torch.allclose(features(images, judges), whole)
    assert all(torch.equal(v, judge_images(images, judges)[name]) for name, v in verdicts.items())


def test_clear_errors(judges: Judges) -> None:
    with pytest.raises(UserError, match="more than 5 training and test images"):
        prepare_reference(pictures(50, 0), pictures(3, 1), judges)
    with pytest.raises(UserError, match="'x' has 2 images"):
        evaluate_images({"x": pictures(2, 2)}, pictures(50, 0), pictures(50, 1), judges)
    del judges["judge_b"]
    with pytest.raises(UserError, match="needs 'judge_b'"):
        prepare_reference(pictures(50, 0), pictures(50, 1), judges)
