"""Digits drawn by the brush."""

import torch

from handgen.painter.digits import SHAPES, draw_digits, smooth_curves


def test_curves_meet_and_run_from_the_first_point_to_the_last() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    curves = smooth_curves(points)
    assert curves.tolist() == [[[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]], [[1.0, 0.5], [1.0, 1.0], [0.0, 1.0]]]
    assert len(SHAPES) == 10


def test_a_digit_is_a_function_of_seed_and_number() -> None:
    labels = torch.arange(300) % 10
    digits = draw_digits(labels, seed=0)
    assert digits.shape == (300, 1, 32, 32)
    assert torch.equal(draw_digits(labels[:20], seed=0), digits[:20])
    assert not torch.equal(draw_digits(labels[:20], seed=1), digits[:20])
    assert not torch.equal(digits[:10], digits[10:20])  # the same labels in another hand
    ink = (255 - digits.float()).mean((1, 2, 3)) / 255
    assert ((ink > 0.02) & (ink < 0.3)).all()


def test_digits_are_told_apart_by_their_neighbours() -> None:
    known, asked = torch.arange(400) % 10, torch.arange(100) % 10
    distance = torch.cdist(draw_digits(asked, 1).flatten(1).float(), draw_digits(known, 0).flatten(1).float())
    assert (known[distance.argmin(1)] == asked).float().mean() > 0.75
