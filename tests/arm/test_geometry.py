"""Forward kinematics and masks of the arm, against numbers worked by hand and against PyBullet."""

import math

import numpy as np
import pytest
import torch

from handgen.arm.body import FITTED, HIGH, JOINTS, LOW, mirrored
from handgen.arm.drawing import draw_mask, draw_masks
from handgen.arm.geometry import (
    Capsules,
    actions_of,
    as_tensors,
    joints_of,
    pose,
    project,
    random_joints,
    signed_distance,
    soft_silhouette,
)
from handgen.arm.simulator import ArmSimulator

MEASURED = as_tensors(FITTED)
WRIST_Z = FITTED.elbow[1] + FITTED.forearm[0]


def joints(**angles: float) -> torch.Tensor:
    found = torch.zeros(1, len(JOINTS))
    for name, angle in angles.items():
        found[0, JOINTS.index(name)] = angle
    return found


def iou(mask: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (mask & other).sum((1, 2)) / (mask | other).sum((1, 2))


def test_the_published_joints() -> None:
    assert len(JOINTS) == 12 and JOINTS[0] == "thumb_palm" and JOINTS[10:] == ("wrist", "elbow")
    assert LOW == (0.0,) * 10 + (-0.52, -1.04) and HIGH == (1.55,) * 10 + (0.52, 1.04)


def test_actions_are_joints_scaled_to_one() -> None:
    low, high = torch.tensor(LOW), torch.tensor(HIGH)
    torch.testing.assert_close(joints_of(torch.tensor([[-1.0] * 12, [1.0] * 12])), torch.stack([low, high]))
    angles = random_joints(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(joints_of(actions_of(angles)), angles)


def test_at_rest_the_arm_is_upright() -> None:
    arm = pose(MEASURED, joints())
    torch.testing.assert_close(arm.end[0, 0], torch.tensor([0.0, 0.0, WRIST_Z]))
    index = torch.tensor([math.sin(FITTED.directions[1]), 0.0, math.cos(FITTED.directions[1])])
    torch.testing.assert_close(arm.end[0, 7] - arm.start[0, 7], index * FITTED.lengths[1][0], atol=1e-6, rtol=0)
    assert float(arm.start[..., 1].abs().max()) == 0.0


def test_the_elbow_leans_the_arm_to_the_right() -> None:
    arm = pose(MEASURED, joints(elbow=0.5))
    wanted = torch.tensor([math.sin(0.5), 0.0, math.cos(0.5)]) * FITTED.forearm[0]
    torch.testing.assert_close(arm.end[0, 0] - torch.tensor([0.0, 0.0, FITTED.elbow[1]]), wanted)


def test_a_bent_finger_comes_towards_the_camera() -> None:
    straight, bent = pose(MEASURED, joints()), pose(MEASURED, joints(ring_palm=math.pi / 2, ring_tip=0.3))
    along = bent.end[0, 9] - bent.start[0, 9]
    assert float(along[1]) == pytest.approx(-FITTED.lengths[3][0] * math.cos(FITTED.tilts[3]), abs=1e-5)
    moved = (bent.end - straight.end).abs().sum(-1)[0] > 1e-6
    assert moved.nonzero().flatten().tolist() == [9, 14]  # both parts of the ring finger and nothing else


def test_what_is_as_far_right_as_the_camera_sees_lies_on_the_border() -> None:
    edge = 3.0 * math.tan(math.radians(30))
    point = torch.tensor([[[edge, 0.0, 2.0]]])
    seen = project(Capsules(point, point, torch.ones(1, 1), torch.ones(1, 1)))
    torch.testing.assert_close(seen.start[0, 0], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(seen.start_radius[0, 0], torch.tensor(1.0 / edge))


def test_signed_distance_of_one_capsule() -> None:
    one = Capsules(
        torch.tensor([[[-0.5, 0.0]]]), torch.tensor([[[0.5, 0.0]]]), torch.tensor([[0.1]]), torch.tensor([[0.1]])
    )
    distance = signed_distance(one, 8)[0]  # pixel centres at +-1/8, +-3/8, ...
    assert float(distance[3, 4]) == pytest.approx(0.125 - 0.1, abs=1e-3)
    assert float(distance[3, 7]) == pytest.approx(math.hypot(0.875 - 0.5, 0.125) - 0.1, abs=1e-3)


def test_a_drawn_circle_has_its_area() -> None:
    centre, radii = np.array([[0.1, -0.2]]), np.array([[0.4, 0.4]])
    drawn = draw_mask(centre, centre, radii, 200)
    assert drawn.sum() == pytest.approx(math.pi * 0.4**2 / 4 * 200**2, rel=0.02)
    rows, columns = np.nonzero(drawn)
    assert (columns.mean() + 0.5) / 100 - 1 == pytest.approx(0.1, abs=0.005)
    assert (rows.mean() + 0.5) / 100 - 1 == pytest.approx(-0.2, abs=0.005)


def test_of_a_circle_inside_another_the_larger_is_drawn() -> None:
    start, end = np.array([[0.0, 0.0]]), np.array([[0.05, 0.0]])
    for radii in ([[0.5, 0.1]], [[0.1, 0.5]]):
        assert draw_mask(start, end, np.array(radii), 100).sum() == pytest.approx(math.pi * 25**2, rel=0.06)


def test_masks_agree_with_pybullet() -> None:
    angles = random_joints(24, torch.Generator().manual_seed(1))
    simulator = ArmSimulator()
    rendered = []
    for row in angles:
        simulator.place(row.numpy())
        rendered.append(torch.from_numpy(simulator.camera(56)[1]))
    simulator.close()
    drawn, exact = draw_masks(MEASURED, angles, 56) > 127, signed_distance(project(pose(MEASURED, angles)), 56) < 0
    assert float(iou(drawn, torch.stack(rendered)).mean()) >= 0.97
    assert float(iou(exact, torch.stack(rendered)).mean()) >= 0.97
    assert float(iou(drawn, exact).mean()) >= 0.98


def test_a_silhouette_moves_every_visible_joint() -> None:
    angles = joints(**dict.fromkeys(JOINTS[:10], 0.3)).requires_grad_()
    soft_silhouette(MEASURED, angles, 28, 0.03).square().mean().backward()
    assert angles.grad is not None and bool((angles.grad.abs() > 1e-6).all())


def test_the_mirrored_arm_is_the_mirror_image() -> None:
    angles = random_joints(4, torch.Generator().manual_seed(2))
    turned = torch.cat([angles[:, :10], -angles[:, 10:]], dim=1)
    assert float(angles[:, 10:].abs().min()) > 0.01
    masks = draw_masks(as_tensors(FITTED), angles, 56) > 127
    others = draw_masks(as_tensors(mirrored(FITTED)), turned, 56) > 127
    assert float(iou(masks, others.flip(-1)).min()) > 0.97
    assert float(iou(masks, others).max()) < 0.97


def test_random_poses_stay_in_range_and_are_often_stretched() -> None:
    angles = random_joints(500, torch.Generator().manual_seed(3))
    assert bool((angles >= torch.tensor(LOW)).all()) and bool((angles <= torch.tensor(HIGH)).all())
    assert 0.4 < float((angles[:, 2] < 0.35).float().mean()) < 0.75
