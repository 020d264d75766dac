"""Judges: losses and checks on hand-worked numbers, training that trains, files that are safe."""

from pathlib import Path

import pytest
import torch

from handgen.anatomy import KINDS, degradation, render_hands
from handgen.anatomy.geometric import CHECKS, Findings, GeometricJudge
from handgen.anatomy.judge_module import JudgeClassifier, classification_loss
from handgen.anatomy.judge_networks import JudgeNetwork, KeypointNetwork, expected_position
from handgen.anatomy.judge_reliability import HEALTHY, PLANTED, acceptance_threshold, reliability
from handgen.anatomy.judges import (
    WEIGHTS,
    LearnedJudge,
    load_judges,
    load_learned_judge,
    save_judge,
    to_judge_size,
)
from handgen.anatomy.keypoint_module import KeypointRegressor, keypoint_loss
from handgen.anatomy.landmarks import CORRECT_COUNTS
from handgen.anatomy.measurements import bend, digit_lengths, disorder, distance_to_skeleton, proportions
from handgen.anatomy.photo_edits import EDITS
from handgen.errors import UserError


def straight_hand() -> torch.Tensor:
    """Keypoints of a flat right palm with the thumb on the right, (1, 21, 2); the palm is 0.8 long."""
    points = [(0.0, 0.9)]
    for x, y, dx, dy in [
        (0.15, 0.7, 0.14, -0.12),
        (0.25, 0.15, 0.02, -0.2),
        (0.0, 0.1, 0.0, -0.22),
        (-0.2, 0.15, -0.02, -0.2),
        (-0.4, 0.3, -0.05, -0.15),
    ]:
        points += [(x + i * dx, y + i * dy) for i in range(4)]
    return torch.tensor([points])


def test_digit_lengths_are_in_palm_lengths() -> None:
    lengths = digit_lengths(straight_hand())
    assert lengths.shape == (1, 5, 3)
    assert lengths[0, 2].tolist() == pytest.approx([0.22 / 0.8] * 3, abs=1e-5)


def test_order_holds_from_both_sides_and_breaks_when_fingers_swap() -> None:
    hand = straight_hand()
    mirrored = hand * torch.tensor([-1.0, 1.0])
    assert disorder(hand) < 0 and torch.allclose(disorder(hand), disorder(mirrored), atol=1e-5)
    swapped = hand.clone()
    swapped[:, 5:9], swapped[:, 9:13] = hand[:, 9:13], hand[:, 5:9]
    assert disorder(swapped) > 0.1


def test_bend_of_a_right_angle() -> None:
    hand = straight_hand()
    assert float(bend(hand)[0, 1:].max()) < 0.1
    hand[0, 8] = hand[0, 7] + torch.tensor([0.2, 0.02])
    assert float(bend(hand)[0, 1]) == pytest.approx(torch.pi / 2, abs=0.05)


def test_skeleton_distance_is_zero_on_bones_and_grows() -> None:
    distance = distance_to_skeleton(straight_hand(), 64)
    row, column = int((0.1 - 0.22 + 1) * 32), 32  # on the middle finger
    assert float(distance[0, row, column]) < 0.05
    assert float(distance[0, 2, 2]) > 0.8


def test_expected_position_finds_the_peak() -> None:
    logits = torch.full((1, 1, 8, 8), -20.0)
    logits[0, 0, 6, 1] = 20.0
    assert expected_position(logits)[0, 0].tolist() == pytest.approx([2 * 1.5 / 8 - 1, 2 * 6.5 / 8 - 1], abs=1e-4)


def test_keypoint_loss_is_least_at_the_truth_and_ignores_the_hidden() -> None:
    where = torch.tensor([[[0.25, -0.25], [0.5, 0.5]]])
    grid = (torch.arange(32) + 0.5) / 16 - 1
    squared = (grid[None, None, None] - where[..., :1, None]) ** 2 + (
        grid[None, None, :, None] - where[..., 1:, None]
    ) ** 2
    perfect = -squared / (2 * 0.05**2)
    one = torch.ones(1, 2)
    assert keypoint_loss(perfect, where, one, 0.05) < keypoint_loss(perfect.roll(4, 3), where, one, 0.05)
    hidden = torch.tensor([[1.0, 0.0]])
    moved = perfect.clone()
    moved[:, 1] = moved[:, 1].roll(9, 1)
    assert torch.equal(keypoint_loss(perfect, where, hidden, 0.05), keypoint_loss(moved, where, hidden, 0.05))


def test_classification_loss_on_hand_worked_numbers() -> None:
    outputs = (torch.zeros(2), torch.zeros(2, len(KINDS)), torch.zeros(2, 8))
    valid, kind, digits = torch.tensor([True, False]), torch.tensor([0, -1]), torch.tensor([-1, -1])
    expected = torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(float(len(KINDS))))
    assert torch.allclose(classification_loss(outputs, valid, kind, digits), expected)


def test_threshold_accepts_the_asked_share() -> None:
    scores = torch.arange(1000.0)
    assert float((scores > acceptance_threshold(scores, 0.95)).float().mean()) == pytest.approx(0.95, abs=2e-3)


def test_reliability_counts_by_kind_and_photographs() -> None:
    kind = torch.tensor([0, 0, 0, 0, 1, 1])
    scores = torch.tensor([1.0, 1, 1, -1, -1, 1])
    held_out = {"kind": kind, **{f"score/{b}": scores for b in ("none", "mild", "strong")}}
    held_out |= {
        "planted": torch.tensor([0, 0, 1, 2, 4, 4, 5]),
        "photo_score": torch.tensor([1.0, -1, -1, 1, -1, -1, 1]),
    }
    found = {(m.metric, m.variant): m.value for m in reliability(held_out)}
    assert found["sensitivity/valid", "mild"] == 0.75
    assert (
        found["sensitivity/missing", "mild"]
        == found["specificity", "none"]
        == found["sensitivity/gross", "strong"]
        == 0.5
    )
    assert found["real_false_alarm", "intact"] == 0.5
    assert found["real_planted_caught", "removed"] == 1.0 and found["real_planted_caught", "all"] == 0.5
    assert found["real_planted_caught", "fused"] == 1.0, "and it does not count in all"
    assert found["real_false_alarm", "smoothed"] == 0.0


def batch(count: int = 12) -> dict[str, torch.Tensor]:
    hands = render_hands(range(count), kinds=KINDS)
    return {
        "image": hands.image.float() / 255, "mask": hands.mask.float() / 255, "kind": hands.kind, "valid": hands.valid,
        "digits": hands.digits, "keypoints": hands.keypoints, "visible": hands.visible,
        "landmarks": hands.landmarks, "landmark_class": hands.landmark_class,
        "photo": hands.image[:4].float() / 255, "photo_mask": hands.mask[:4].float() / 255,
        "photo_valid": torch.tensor([True, False, True, False]), "photo_planted": torch.tensor([0, 1, 0, 2]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "module", [JudgeClassifier(trunk="plain"), JudgeClassifier(trunk="residual"), KeypointRegressor()]
)
def test_every_weight_learns(module: JudgeClassifier | KeypointRegressor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    torch.manual_seed(0)
    module.training_step(batch(), 0).backward()
    silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize("trunk", ["plain", "residual"])
def test_a_judge_learns_to_tell_blobs_from_hands(trunk: str) -> None:
    torch.manual_seed(0)
    hands = render_hands(range(48), kinds=("valid", "blob"))
    image, valid = hands.image.float() / 255, hands.valid.float()
    network = JudgeNetwork(trunk)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(image)[0], valid).backward()
        optimizer.step()
    network.eval()
    assert ((network(image)[0] > 0) == hands.valid).float().mean() > 0.9


def test_warp_moves_points_with_the_picture() -> None:
    torch.manual_seed(1)
    image = torch.zeros(4, 1, 65, 65)
    image[:, 0, 20, 40] = 1.0
    point = torch.tensor([[[(40 + 0.5) * 2 / 65 - 1, (20 + 0.5) * 2 / 65 - 1]]]).expand(4, 1, 2)
    inverse = degradation.random_affine(4, torch.device("cpu"))
    moved = degradation.warp(image, inverse)
    expected = degradation.warp_points(point, inverse)
    rows, columns = moved[:, 0].flatten(1).argmax(1) // 65, moved[:, 0].flatten(1).argmax(1) % 65
    found = torch.stack([(columns + 0.5) * 2 / 65 - 1, (rows + 0.5) * 2 / 65 - 1], -1)
    assert (found - expected[:, 0]).abs().max() < 0.04


def test_blur_of_a_point_is_a_gaussian_of_the_asked_width() -> None:
    image = torch.zeros(2, 1, 33, 33)
    image[:, 0, 16, 16] = 1.0
    blurred = degradation.gaussian_blur(image, torch.tensor([0.0, 2.0]))
    assert float(blurred[0, 0, 16, 16]) == pytest.approx(1.0)
    xs = torch.arange(33) - 16.0
    assert float((blurred[1, 0].sum(0) * xs**2).sum().sqrt()) == pytest.approx(2.0, rel=0.06)
    assert float(blurred[1].sum()) == pytest.approx(1.0, abs=1e-4)


def test_calibration_accepts_the_asked_share_of_valid_hands() -> None:
    torch.manual_seed(0)
    judge = GeometricJudge().eval()
    images = render_hands(range(120)).image.float() / 255
    judge.calibrate(images, torch.zeros(120).long(), acceptance=0.9)
    assert judge.measure(images[:3]).shape == (3, len(CHECKS))
    assert float(judge.verdict(images).valid.float().mean()) == pytest.approx(0.9, abs=0.06)


def test_each_check_of_counts_fires_on_its_own_landmark() -> None:
    judge = GeometricJudge().eval()
    keypoints, mask = straight_hand(), torch.ones(1, 1, 32, 32)
    right = judge.check(Findings(keypoints, torch.ones(1, 21), mask, torch.tensor([CORRECT_COUNTS]).float()))[0]
    wrong = judge.check(Findings(keypoints, torch.ones(1, 21), mask, torch.tensor([[5.0, 1.0, 10.0, 5.0]])))[0]
    assert right[:4].tolist() == [0.0, 0.0, 0.0, 0.0] and wrong[:4].tolist() == [1.0, 0.0, 2.0, 1.0]
    assert torch.equal(right[4:], wrong[4:]) and len(right) == len(CHECKS)


def test_proportions_do_not_change_with_size_place_turn_and_side() -> None:
    hand = straight_hand()
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    for other in (0.5 * hand + 0.1, hand @ turn, hand * torch.tensor([-1.0, 1.0])):
        assert torch.allclose(proportions(hand), proportions(other), atol=1e-5)


def test_judge_file_is_read_back_and_holds_no_code(tmp_path: Path) -> None:
    judge = LearnedJudge("plain", 0.5, 0.9, 0.8).eval()
    judge.standardise(torch.rand(8, 3, 64, 64))
    save_judge(
        judge,
        {"trunk": "plain", "threshold": 0.5, "sensitivity": 0.9, "specificity": 0.8},
        tmp_path / "judge_a.pt",
    )
    again = load_learned_judge(tmp_path / "judge_a.pt")
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(again.verdict(image).score, judge.verdict(image).score)
    assert torch.equal(again.features(image), judge.features(image))
    with pytest.raises(UserError, match="make train EXP=judge_b"):
        load_learned_judge(tmp_path / "judge_b.pt")
    (tmp_path / "judge_b.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="damaged"):
        load_learned_judge(tmp_path / "judge_b.pt")


def test_features_are_standardised_over_all_sets_and_silent_ones_are_not_blown_up() -> None:
    torch.manual_seed(0)
    judge = LearnedJudge("plain").eval()
    with torch.no_grad():
        judge.network.project.weight[0] = 0.0
    bright, dark = torch.rand(30, 3, 64, 64), 0.3 * torch.rand(10, 3, 64, 64)
    raw = torch.cat([judge.features(bright), judge.features(dark).repeat(3, 1)])
    deviation = raw.std(dim=0, unbiased=False)
    for _ in range(2):  # twice gives the same as once
        judge.standardise(bright, dark)
        found = torch.cat([judge.features(bright), judge.features(dark).repeat(3, 1)])  # both sets weigh the same
        assert found.mean(dim=0).abs().max() < 0.02
        loud = deviation > 0.1 * deviation.median()
        assert torch.allclose(found[:, loud].std(dim=0, unbiased=False), torch.ones(int(loud.sum())), atol=1e-3)
        assert not loud[0] and float(found[:, 0].std()) < 1e-3


def test_judges_see_larger_images_and_refuse_smaller_ones() -> None:
    assert to_judge_size(torch.rand(1, 3, 128, 128)).shape[-1] == 64
    with pytest.raises(ValueError, match="at least 64"):
        to_judge_size(torch.rand(1, 3, 32, 32))


def test_networks_are_small_enough_to_ship() -> None:
    for network in (JudgeNetwork("plain"), JudgeNetwork("residual"), KeypointNetwork()):
        assert sum(p.numel() for p in network.parameters()) * 4 < 2e6


def test_shipped_judges_tell_hands_from_malformed_ones() -> None:
    """The committed weights still fit the committed renderer."""
    valid = render_hands(range(5000, 5064), seed=9).image.float() / 255
    gross = (
        render_hands(range(5000, 5064), seed=9, kinds=("missing", "blob", "no_thumb", "two_thumbs")).image.float() / 255
    )
    judges = load_judges()
    assert tuple(judges) == ("judge_a", "judge_b", "geometric")
    for name, judge in judges.items():
        assert (WEIGHTS / f"{name}.pt").stat().st_size < 2 * 1024**2
        assert judge.verdict(valid).valid.float().mean() > 0.8, name
        assert judge.verdict(gross).valid.float().mean() < 0.35, name


def test_planted_names_are_known() -> None:
    assert ("intact", *EDITS) == PLANTED, "files and batches hold the index: new names go to the end"
    assert set(HEALTHY) == {"intact", "restored", "smoothed"}
