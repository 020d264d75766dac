"""Rewards, advantages and losses of painters on hand-worked numbers."""

import math

import pytest
import torch

from handgen.errors import UserError
from handgen.painter import losses
from handgen.painter.actions import action_table
from handgen.painter.discriminator import Discriminator
from handgen.painter.scoring import taken_so_far


def column(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers)[:, None]


def test_credit_sums_to_what_the_end_is_worth() -> None:
    scores = column(0.5, 2.0, 1.0)
    assert losses.credit(scores).flatten().tolist() == [1.5, -1.0]
    assert losses.at_the_end(scores).flatten().tolist() == [0.0, 1.0]
    assert losses.credit(scores).sum() == scores[-1, 0] - scores[0, 0]


def test_strokes_that_continue_none() -> None:
    drawn = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=torch.bool)
    assert losses.new_strokes(drawn).int().tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]


def test_advantages_by_hand() -> None:
    reward, value = column(1.0, 2.0), column(0.5, 3.0)
    # Errors: 1 + 0.5 * 3 - 0.5 = 2 and 2 - 3 = -1.
    assert losses.generalised_advantages(reward, value, 0.5, 0.0).flatten().tolist() == [2.0, -1.0]
    assert losses.generalised_advantages(reward, value, 0.5, 0.5).flatten().tolist() == [1.75, -1.0]
    returns = losses.generalised_advantages(reward, value, 0.5, 1.0) + value
    assert returns.flatten().tolist() == [2.0, 2.0]


def test_vtrace_with_equal_policies_is_the_return_and_ratios_are_clipped() -> None:
    reward, value = column(1.0, 2.0), column(0.5, 3.0)
    target, advantage = losses.vtrace(torch.zeros(2, 1), reward, value, 0.5)
    assert target.flatten().tolist() == [2.0, 2.0]
    assert advantage.flatten().tolist() == [1.5, -1.0]
    # Ratios 1/2 and 4, the second clipped to 1: errors 1/2 * 2 and -1; passed back by 1/2 * 0.5.
    off, _ = losses.vtrace(column(math.log(0.5), math.log(4.0)), reward, value, 0.5)
    assert off.flatten().tolist() == pytest.approx([0.5 + 1.0 - 0.25, 2.0])


def test_vtrace_with_equal_policies_and_lambda_passes_less_back() -> None:
    target, _ = losses.vtrace(torch.zeros(2, 1), column(1.0, 2.0), column(0.5, 3.0), 0.5, trace=0.5)
    assert target.flatten().tolist() == [0.5 + 1.75, 2.0]


def test_what_paintings_of_one_target_share_is_no_advantage() -> None:
    advantage = torch.tensor([[1.0, 3.0, 10.0, 14.0], [0.0, 0.0, 1.0, 1.0]])
    assert losses.less_group_mean(advantage, 2).tolist() == [[-1.0, 1.0, -2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]


def test_without_its_smaller_pictures_the_pyramid_is_the_squared_error() -> None:
    painted, image = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    plain = (painted - image).square().mean()
    torch.testing.assert_close(losses.pyramid_error(painted, image, coarse=0.0), plain)
    assert losses.pyramid_error(painted, image) > plain


def test_the_clipped_loss_by_hand() -> None:
    ratio, advantage = torch.tensor([1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = losses.clipped_policy_loss(ratio.log(), torch.zeros(4), advantage, 0.2)
    assert loss.item() == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)
    assert losses.policy_gradient_loss(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 3.0])).item() == 3.5


def test_discriminator_losses_by_hand() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.0, -1.0])
    assert losses.wasserstein_loss(real, fake).item() == -2.5
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))) / 2
    expected += (math.log(2.0) + math.log1p(math.exp(-1))) / 2
    assert losses.logistic_loss(real, fake).item() == pytest.approx(expected)


def test_the_gradient_penalty_of_a_linear_critic() -> None:
    real, fake, share = torch.rand(4, 1, 2, 2), torch.rand(4, 1, 2, 2), torch.rand(4)
    penalty = losses.gradient_penalty(lambda x: 3.0 * x.flatten(1).sum(1), real, fake, share)
    assert penalty.item() == pytest.approx((3.0 * 2.0 - 1.0) ** 2)  # four pixels with a slope of 3


@pytest.mark.parametrize("spectral", [False, True])
def test_a_discriminator_scores_pictures_and_pairs(spectral: bool) -> None:
    image = torch.rand(3, 1, 32, 32)
    assert Discriminator(32, 1, 4, spectral)(image).shape == (3,)
    pairs = Discriminator(32, 2, 4, spectral)
    assert not torch.equal(pairs(image, image), pairs(image, 1 - image))


def test_a_joint_discriminator_looks_at_what_was_decided_so_far() -> None:
    torch.manual_seed(0)
    table, image = action_table("fast_grey"), torch.rand(1, 1, 16, 16).expand(2, -1, -1, -1)
    joint = Discriminator(16, 1, 4, spectral=True, programs=(table, 3)).eval()  # no power iterations in between

    def scores(first: torch.Tensor, second: torch.Tensor) -> list[float]:
        found: list[float] = joint(image, actions=torch.stack([first, second])).tolist()
        return found

    actions = torch.ones(3, 6)
    one, other = scores(actions, torch.cat([actions[:2], torch.tensor([[1.0, 2, 2, 2, 2, 2]])]))
    assert one != pytest.approx(other, abs=1e-6)
    taken = taken_so_far(torch.stack([actions, actions + 1], dim=1))  # times 0 to 3, of two programs
    assert (taken[0] == -1).all() and (taken[2, 0, :2] == 1).all() and (taken[2, :, 2] == -1).all()
    assert torch.equal(taken[3, 1], actions + 1)
    jump = torch.tensor([0.0, 1, 1, 1, 1, 1]).expand(3, -1)
    one, other = scores(jump, jump + torch.tensor([0.0, 0, 0, 0, 0, 1]))
    assert one == pytest.approx(other, abs=1e-6)  # a jump has no size


def test_spectral_norms_bound_the_slope() -> None:
    torch.manual_seed(0)
    critic = Discriminator(16, 1, 4, spectral=True)
    for _ in range(50):  # power iterations
        critic(torch.rand(2, 1, 16, 16))
    for layer in critic.layers:
        if hasattr(layer, "weight"):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def test_a_size_that_cannot_be_halved_gets_one_line() -> None:
    with pytest.raises(UserError, match="48 pixels"):
        Discriminator(48)
