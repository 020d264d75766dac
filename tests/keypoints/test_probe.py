"""The probes: exact where the truth is linear, honest where it is not."""

import math

import pytest
import torch

from handgen.keypoints import probe


def cart_poles(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keypoints on the cart and the tip of the pole (N, 2, 2), and x, sin, cos (N, 3)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, generator=generator) * 2 - 1
    angle = (torch.rand(count, generator=generator) * 2 - 1) * math.pi
    tip = torch.stack([0.5 * x + 0.3 * angle.sin(), -0.3 * angle.cos()], dim=1)
    cart = torch.stack([0.5 * x, torch.zeros(count)], dim=1)
    return torch.stack([cart, tip], dim=1), torch.stack([x, angle.sin(), angle.cos()], dim=1)


def measured(keypoints: torch.Tensor, states: torch.Tensor, name: str = "state") -> dict[str, float]:
    split = torch.arange(len(keypoints)) % 2
    return {m.metric: m.value for m in probe.figures([probe.Probed(keypoints, split, {name: states})])}


def test_points_on_cart_and_tip_are_read_exactly() -> None:
    found = measured(*cart_poles(400))
    for name in ("x", "sin", "cos"):
        assert found[f"probe/r2_{name}"] == pytest.approx(1.0, abs=1e-6)
    assert found["probe/angle_deg_median"] == pytest.approx(0.0, abs=1e-3)
    assert found["probe/kernel_r2_sin"] > 0.99


def test_a_point_on_the_cart_tells_nothing_of_the_angle() -> None:
    keypoints, states = cart_poles(400)
    found = measured(keypoints[:, :1], states)
    assert found["probe/r2_x"] > 0.999 and abs(found["probe/r2_sin"]) < 0.1
    assert 60 < found["probe/angle_deg_median"] < 120


def test_a_point_that_knows_the_angle_in_a_curve_is_for_the_kernel_probe_alone() -> None:
    keypoints, states = cart_poles(1000)
    angle = torch.atan2(states[:, 1], states[:, 2])
    curled = torch.stack([(2 * angle).cos(), angle / 4], dim=1)[:, None]
    found = measured(torch.cat([keypoints[:, :1], curled], dim=1), states)
    assert found["probe/r2_cos"] < 0.5 < 0.95 < found["probe/kernel_r2_cos"]


def test_angles_are_compared_around_the_circle() -> None:
    pairs = torch.tensor([[math.sin(3.0), math.cos(3.0)], [math.sin(-3.0), math.cos(-3.0)]])
    error = probe.angle_error_deg(pairs[:1], pairs[1:])
    assert error.item() == pytest.approx(math.degrees(2 * math.pi - 6.0), abs=1e-3)


def test_intervals_hold_the_figure() -> None:
    keypoints, states = cart_poles(200)
    noisy = keypoints + 0.05 * torch.randn(keypoints.shape, generator=torch.Generator().manual_seed(1))
    for m in probe.figures([probe.Probed(noisy, torch.arange(200) % 2, {"state": states})]):
        assert m.low is not None and m.high is not None
        assert m.low <= m.value <= m.high and m.n == 100


def test_joints_are_graded_by_the_size_of_the_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    joints = torch.rand(100, 21, 2, generator=generator)
    found = measured(joints, joints, "joints")
    assert found["probe/joint_error"] == pytest.approx(0.0, abs=1e-6)
    assert found["probe/joint_error_constant"] > 0.2


def test_tasks_without_labels_are_not_probed() -> None:
    keypoints, states = cart_poles(10)
    assert measured(keypoints, states * math.nan) == {}
    assert probe.figures([]) == []
