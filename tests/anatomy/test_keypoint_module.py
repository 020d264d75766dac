"""What photographs teach the geometric judge's network, on hand-worked numbers; the whole experiment, shrunk."""

import json
from pathlib import Path

import pytest
import torch

from handgen import cli
from handgen.anatomy import degradation
from handgen.anatomy.judge_reliability import PLANTED
from handgen.anatomy.keypoint_module import disagreement, miscount


@pytest.mark.parametrize(
    ("planted", "surplus", "expected"),
    [
        ("intact", (1.0, 0.0, -2.0, 1.0), 1.0),  # mean error of the four classes
        ("removed", (-1.0, 0.0, 3.0, 3.0), 0.0),  # a finger's tip is gone, as planted
        ("removed", (0.0, -1.0, 0.0, 0.0), 0.0),  # or the thumb's
        ("duplicated", (0.0, 0.0, 0.0, 0.0), 1.0),
        ("fused", (-1.0, 0.0, 0.0, 0.0), 0.0),  # three finger tips are few enough
        ("fused", (0.5, 0.0, 0.0, 0.0), 1.5),
    ],
)
def test_miscount_knows_what_was_planted(planted: str, surplus: tuple[float, ...], expected: float) -> None:
    assert float(miscount(torch.tensor([surplus]), torch.tensor([PLANTED.index(planted)]))) == pytest.approx(expected)


def test_two_views_agree_where_the_keypoints_move_with_the_picture() -> None:
    torch.manual_seed(0)
    points = torch.rand(3, 5, 2) - 0.5
    inverse = degradation.random_affine(6, torch.device("cpu"))
    seen = degradation.warp_points(points.repeat(2, 1, 1), inverse)
    healthy = torch.tensor([True, True, False] * 2)
    assert float(disagreement(seen, inverse, healthy)) == pytest.approx(0.0, abs=1e-5)
    seen[2] += 9.0  # of a photograph that does not count
    assert float(disagreement(seen, inverse, healthy)) == pytest.approx(0.0, abs=1e-5)


def test_calling_the_left_side_thumb_in_both_of_two_mirrored_views_is_a_disagreement() -> None:
    left = torch.tensor([[[-0.5, 0.0]], [[-0.5, 0.0]]])
    views = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert float(disagreement(left, views, torch.tensor([True, True]))) == pytest.approx(1.0)


@pytest.mark.parametrize("experiment", ["judge_a", "judge_keypoints"])
def test_a_judge_is_trained_calibrated_and_measured(experiment: str, tmp_path: Path) -> None:
    shrunk = ["--data.train_count=24", "--data.val_count=24", "--data.test_count=24", "--data.batch_size=8"]
    words = ["--config", experiment, f"--runs={tmp_path}", "--threads=1", "--data.photographs=no", *shrunk]
    assert cli.main(["fit", *words, "--trainer.max_epochs=1"]) == 0
    assert cli.main(["test", *words]) == 0
    records = json.loads(next(tmp_path.rglob("result.json")).read_text())
    metrics = {(r["metric"], r["variant"]) for r in records}
    assert {("sensitivity/valid", "mild"), ("specificity", "strong"), ("sensitivity/gross", "none")} <= metrics
    assert len(list(tmp_path.rglob("*.pt"))) == 1
