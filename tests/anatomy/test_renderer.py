"""The renderer: deterministic, right labels, hands inside the frame, and bad calls told."""

import math

import pytest
import torch

from handgen.anatomy import KINDS, render_hands
from handgen.anatomy.draws import Draws
from handgen.anatomy.kinematics import chain, pose
from handgen.anatomy.metrics import srgb_to_lab, typology_angle
from handgen.anatomy.parameters import sample_parameters
from handgen.anatomy.shape import Frame, segment, smooth_maximum, smooth_minimum


def test_same_hand_in_any_batch_and_order() -> None:
    together = render_hands(range(9), seed=4, kinds=KINDS)
    alone = torch.cat([render_hands([i], seed=4, kinds=KINDS).image for i in range(9)])
    backwards = render_hands(range(8, -1, -1), seed=4, kinds=KINDS)
    assert torch.equal(together.image, alone)
    assert torch.equal(together.image.flip(0), backwards.image)
    assert torch.equal(together.keypoints.flip(0), backwards.keypoints)


def test_seed_and_index_change_the_hand() -> None:
    a, b = render_hands([0, 1], seed=0).image, render_hands([0, 1], seed=1).image
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a, b)


def test_kinds_share_every_nuisance() -> None:
    """The same number gives the same skin, light, camera and pose whatever the anatomy."""
    valid, missing = render_hands(range(16), kinds=("valid",)), render_hands(range(16), kinds=("missing",))
    for name, values in valid.parameters.items():
        assert torch.equal(values, missing.parameters[name]), name
    assert not torch.equal(valid.image, missing.image)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_ranges_and_truth(size: int) -> None:
    hands = render_hands(range(10), size=size)
    assert hands.image.shape == (10, 3, size, size) and hands.image.dtype == torch.uint8
    assert hands.mask.shape == (10, 1, size, size)
    assert hands.keypoints.shape == (10, 21, 2) and hands.visible.shape == (10, 21)
    assert hands.valid.all() and (hands.digits == 5).all()
    assert (hands.segments == torch.tensor([2, 3, 3, 3, 3])).all()
    assert 0.1 < hands.mask.float().mean() / 255 < 0.6


def test_visible_keypoints_lie_on_the_hand_and_tips_are_up() -> None:
    hands = render_hands(range(48))
    column = ((hands.keypoints + 1) * 32).long().clamp(0, 63)
    rows = torch.arange(48)[:, None]
    on_hand = hands.mask[rows, 0, column[..., 1], column[..., 0]] > 100
    digits = torch.arange(21) > 1  # the wrist may be under a sleeve or at the edge of the frame
    assert on_hand[hands.visible & digits].float().mean() > 0.98
    assert (hands.keypoints.abs()[:, 2:] < 1).all(), "a digit leaves the frame"
    assert (hands.keypoints[:, 12, 1] < hands.keypoints[:, 0, 1] - 0.5).all(), "fingers point up"


def test_thumb_is_on_the_side_that_side_and_view_imply() -> None:
    hands = render_hands(range(64))
    thumb_right = hands.keypoints[:, 4, 0] > hands.keypoints[:, 20, 0]
    expected = hands.side == hands.view  # right palmar and left dorsal show the thumb on the right
    assert torch.equal(thumb_right, expected)


def test_labels_count_what_is_there() -> None:
    expected = {
        "missing": 4,
        "extra": 6,
        "fused": 4,
        "no_thumb": 4,
        "two_thumbs": 6,
        "forked": 6,
        "short": 5,
        "bent": 5,
    }
    for kind, digits in expected.items():
        hands = render_hands(range(6), kinds=(kind,))
        assert (hands.digits == digits).all(), kind
        assert not hands.valid.any()
    assert (render_hands(range(6), kinds=("blob",)).digits <= 2).all()
    assert (render_hands(range(6), kinds=("short",)).segments.sum(1) == 13).all()
    assert (render_hands(range(6), kinds=("long",)).segments.sum(1) == 15).all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_malformation_changes_the_picture(kind: str) -> None:
    valid, malformed = render_hands(range(16)), render_hands(range(16), kinds=(kind,))
    changed = (valid.mask.float() - malformed.mask.float()).abs().mean(dim=(1, 2, 3)) / 255
    assert changed.min() > 0.001 and changed.mean() > 0.005, "nobody could see it"
    assert malformed.mask.float().mean() < 0.6 * 255, "the hand fills the frame"


def test_skin_covers_the_range_of_people() -> None:
    hands = render_hands(range(128), size=32)
    angles = []
    for image, mask in zip(hands.image, hands.mask, strict=True):
        median = image.float()[:, mask[0] > 250].median(dim=1).values / 255
        angles.append(float(typology_angle(srgb_to_lab(median[None, :, None, None])).flatten()[0]))
    assert max(angles) > 60
    assert min(angles) < -55


def test_joint_angles_stay_in_published_ranges() -> None:
    flexion = torch.rad2deg(sample_parameters(Draws(range(512), 3)).flexion[:, 1:])
    assert (flexion[..., 0] > -45).all() and (flexion[..., 0] < 90).all()
    assert (flexion[..., 1] >= 0).all() and (flexion[..., 1] < 100).all()
    assert (flexion[..., 2] >= 0).all() and (flexion[..., 2] < 80).all()


def test_bone_lengths_are_the_published_ones() -> None:
    parameters = sample_parameters(Draws(range(2), 0))
    parameters.size.fill_(1.0)
    parameters.bone.fill_(1.0)
    parameters.width.fill_(1.0)
    joints = pose(parameters).joints[0, 2]
    lengths = (joints[1:4] - joints[:3]).norm(dim=-1)
    assert lengths[:2].tolist() == pytest.approx([44.6, 26.3])
    assert float(lengths[2]) == pytest.approx(17.4 + 4.0 - 6.8), (
        "the last bone ends one tip radius before the pulp's end"
    )


def test_chain_on_hand_worked_joints() -> None:
    right_angle = torch.tensor([[0.0, math.pi / 2]]).double()
    root, lengths, none = (
        torch.zeros(1, 3).double(),
        torch.tensor([[2.0, 1.0]]).double(),
        torch.zeros(1, 2).double(),
    )
    bent = chain(root, lengths, torch.zeros(1).double(), right_angle, none)
    assert torch.allclose(bent[0], torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 2, 1]]).double(), atol=1e-9)
    turned = chain(root, lengths, torch.zeros(1).double(), none, right_angle)
    assert torch.allclose(turned[0], torch.tensor([[0.0, 0, 0], [0, 2, 0], [1, 2, 0]]).double(), atol=1e-9)


def test_segment_distance_and_height_on_hand_worked_points() -> None:
    """A capsule of radius 1 from (0, 0) to (0, 2), seen by pixels 0.5 mm apart on [-2, 2]."""
    unit = torch.tensor([[2.0, 0.0, 0.0]]).double()
    frame = Frame(unit, torch.tensor([[0.0, -2.0, 0.0]]).double(), 8, torch.tensor([0.5]).double())
    start, end, one = (
        torch.zeros(1, 3).double(),
        torch.tensor([[0.0, 2.0, 0.0]]).double(),
        torch.ones(1).double(),
    )
    part = segment(frame, start, end, one, one)
    row, column = 2, 6  # x = 1.25, y = 0.75
    assert float(part.distance[0, row, column]) == pytest.approx(0.25, abs=1e-5)
    assert float(part.height[0, row, 4]) == pytest.approx(math.sqrt(1 - 0.25**2), abs=1e-5)
    assert float(part.along[0, row, column]) == pytest.approx(0.75, abs=1e-5)


def test_a_segment_without_length_is_a_disc() -> None:
    frame = Frame(
        torch.tensor([[2.0, 0, 0]]).double(),
        torch.tensor([[0.0, -2.0, 0]]).double(),
        8,
        torch.ones(1).double(),
    )
    point, one = torch.zeros(1, 3).double(), torch.ones(1).double()
    part = segment(frame, point, point, one, one)
    assert torch.isfinite(part.height).all()
    assert float(part.distance[0, 0, 0]) == pytest.approx(math.hypot(1.75, 1.75) - 1, abs=2e-3)


def test_smooth_minimum_and_maximum() -> None:
    a, b = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 5.0])
    assert smooth_minimum(a, b, 2.0).tolist() == [-0.5, 0.0]
    assert smooth_maximum(a, b, 2.0).tolist() == [0.5, 5.0]


def test_bad_calls_are_told() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        render_hands([0], kinds=("webbed",))
    with pytest.raises(ValueError, match="multiple of 16"):
        render_hands([0], size=50)
    with pytest.raises(ValueError, match="empty"):
        render_hands([])
