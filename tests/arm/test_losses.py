"""Losses of imitation and of the actor-critic, on numbers worked by hand."""

import math

import pytest
import torch

from handgen.arm.actor_critic import policy_gradient_loss, td_error
from handgen.arm.losses import fingers, joint_loss, posture_loss, silhouette_loss

NAN = float("nan")


def test_joints_count_where_they_are_known() -> None:
    joints = torch.zeros(3, 12)
    truth = torch.stack([torch.full((12,), 0.5), torch.full((12,), NAN), torch.tensor([0.0] * 6 + [NAN] * 6)])
    assert float(joint_loss(joints, truth)) == pytest.approx(12 * 0.25 / 18)
    assert float(joint_loss(joints, torch.full((3, 12), NAN))) == 0.0


def test_a_joint_may_be_off_by_its_slack() -> None:
    joints, truth = torch.tensor([[0.1, -0.2, 0.5, 0.9]]), torch.tensor([[0.0, 0.0, 0.0, 1.4]])
    assert float(joint_loss(joints, truth, slack=0.2)) == pytest.approx((0.3**2 + 0.3**2) / 4)


def test_unknown_joints_give_no_gradient() -> None:
    joints = torch.ones(2, 12, requires_grad=True)
    joint_loss(joints, torch.stack([torch.zeros(12), torch.full((12,), NAN)])).backward()
    assert joints.grad is not None
    assert bool((joints.grad[0] != 0).all()) and bool((joints.grad[1] == 0).all())


def test_silhouettes_are_compared_with_the_share_of_each_pixel() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    mask[0, :2, 0] = 255  # half of the first of four pixels
    soft = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
    assert float(silhouette_loss(soft, mask)) == pytest.approx((0.5**2 + 0.5**2) / 4)


def test_silhouettes_are_compared_at_any_size() -> None:
    mask = torch.full((1, 50, 50), 255, dtype=torch.uint8)  # no multiple of 28
    assert float(silhouette_loss(torch.full((1, 28, 28), 0.5), mask)) == pytest.approx(0.25)


def test_fingers_are_what_is_too_thin_for_a_palm() -> None:
    mask = torch.zeros(1, 20, 20)
    mask[0, 8:18, 5:15] = 1.0  # a palm of half the picture
    mask[0, 0:8, 7:9] = 1.0  # a finger of a tenth
    found = fingers(mask)
    assert float(found[0, 0:7, 7:9].min()) == 1.0 and float(found[0, 9:17, 6:14].max()) == 0.0


def test_a_missing_finger_weighs_more() -> None:
    mask = torch.zeros(1, 20, 20, dtype=torch.uint8)
    mask[0, 8:18, 5:15], mask[0, 0:8, 7:9] = 255, 255
    without = mask.float() / 255
    without[0, 0:8, 7:9] = 0.0
    plain, weighed = (float(silhouette_loss(without, mask, weight)) for weight in (0.0, 2.0))
    assert plain == pytest.approx(16 / 400)
    share = float(fingers(mask.float() / 255).mean())
    assert weighed == pytest.approx(3 * 16 / 400 / (1 + 2 * share), rel=1e-5)


def test_posture_counts_what_is_not_known() -> None:
    joints, truth = torch.zeros(1, 4), torch.tensor([[NAN, NAN, 0.7, NAN]])
    joints[0, 1], joints[0, 2] = 1.0, 5.0
    assert float(posture_loss(joints, truth)) == pytest.approx(1 / 3)
    assert float(posture_loss(joints[:0], truth[:0])) == 0.0


def test_the_td_error_stops_at_the_end() -> None:
    reward, value, after = torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.5]), torch.tensor([2.0, 2.0])
    ended = torch.tensor([False, True])
    assert td_error(reward, value, after, ended, 0.9).tolist() == pytest.approx([1.0 + 1.8 - 0.5, 0.5])


def test_the_policy_gradient_moves_towards_what_turned_out_better() -> None:
    mean = torch.zeros(1, requires_grad=True)
    log_prob = torch.distributions.Normal(mean, 1.0).log_prob(torch.tensor([1.0]))
    delta = torch.tensor([2.0], requires_grad=True)
    loss = policy_gradient_loss(log_prob, delta)
    assert float(loss.detach()) == pytest.approx(2.0 * (0.5 + 0.5 * math.log(2 * math.pi)))
    loss.backward()
    assert float(mean.grad) == pytest.approx(-2.0) and delta.grad is None  # type: ignore[arg-type]
