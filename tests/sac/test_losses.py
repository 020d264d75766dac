"""Every loss on numbers worked by hand, correct forms and printed ones."""

import math

import pytest
import torch
from torch import Tensor, tensor

from handgen.sac import losses


def close(value: Tensor, expected: float | list[float]) -> None:
    torch.testing.assert_close(value, tensor(expected), rtol=1e-6, atol=1e-6)


def test_one_step_return_is_the_reward_and_gamma() -> None:
    reward, discount = losses.n_step_return(tensor([[3.0]]), tensor([[True]]), gamma=0.9)
    close(reward, [3.0])
    close(discount, [0.9])


def test_n_step_return_stops_at_the_end_of_the_episode() -> None:
    rewards = tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    counted = tensor([[True, True, True], [True, True, False]])
    reward, discount = losses.n_step_return(rewards, counted, gamma=0.5)
    close(reward, [1.0 + 1.0 + 1.0, 1.0 + 1.0])
    close(discount, [0.125, 0.25])


def test_soft_value_takes_the_smaller_critic_and_adds_the_entropy() -> None:
    # min(5, 3) - 0.5 * (-2) = 4; min(1, 2) - 0.5 * 4 = -1
    close(losses.soft_value(tensor([[5.0, 1.0], [3.0, 2.0]]), tensor([-2.0, 4.0]), tensor(0.5)), [4.0, -1.0])


def test_target_bootstraps_at_time_limits_and_not_at_ends() -> None:
    target = losses.td_target(tensor([1.0, 1.0]), tensor([0.9, 0.9]), tensor([False, True]), tensor([10.0, 10.0]))
    close(target, [10.0, 1.0])


def test_printed_equation_1_does_not_discount_the_entropy_bonus() -> None:
    reward, discount, ended = tensor([1.0, 1.0]), tensor([0.9, 0.9]), tensor([False, True])
    q, log_prob, alpha = tensor([10.0, 10.0]), tensor([-2.0, -2.0]), tensor(0.5)
    printed = losses.td_target_undiscounted_bonus(reward, discount, ended, q, log_prob, alpha)
    close(printed, [1 + 0.9 * 10 + 0.5 * 2, 1.0])
    correct = losses.td_target(reward, discount, ended, losses.soft_value(q[None], log_prob, alpha))
    close(correct, [1 + 0.9 * (10 + 0.5 * 2), 1.0])


def test_printed_equation_1_takes_the_worst_of_the_sampled_actions() -> None:
    q = tensor([[4.0, -1.0], [2.0, 0.0], [3.0, 5.0]])  # three actions, two states
    log_prob = tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    smallest, its_log_prob = losses.minimum_over_actions(q, log_prob)
    close(smallest, [2.0, -1.0])
    close(its_log_prob, [0.3, 0.2])


def test_critic_loss_is_half_the_squared_error_of_each_critic() -> None:
    # critic 1: errors 1, 3 -> (1 + 9) / 2 / 2 = 2.5; critic 2: errors 0, 2 -> (0 + 4) / 2 / 2 = 1
    close(losses.critic_loss(tensor([[2.0, 5.0], [1.0, 4.0]]), tensor([1.0, 2.0])), 3.5)


def test_actor_loss() -> None:
    # 0.5 * 2 - min(3, 1) = 0; 0.5 * (-4) - min(2, 6) = -4; mean -2
    close(losses.actor_loss(tensor([2.0, -4.0]), tensor([[3.0, 2.0], [1.0, 6.0]]), tensor(0.5)), -2.0)


def test_value_loss() -> None:
    close(losses.value_loss(tensor([1.0, 2.0]), tensor([4.0, 2.0])), 0.5 * 9 / 2)


def test_printed_equation_2_is_the_policys_kl_and_knows_no_value_network() -> None:
    log_prob, q, alpha = tensor([2.0, -4.0]), tensor([[3.0, 2.0], [1.0, 6.0]]), tensor(0.5)
    # 2 - 1 / 0.5 = 0; -4 - 2 / 0.5 = -8; mean -4
    close(losses.value_loss_kl(log_prob, q, alpha), -4.0)
    close(losses.value_loss_kl(log_prob, q, alpha) * alpha, losses.actor_loss(log_prob, q, alpha).item())


@pytest.mark.parametrize(("sign", "direction"), [("correct", 1.0), ("printed", -1.0)])
def test_temperature_loss_and_the_direction_it_pushes(sign: losses.Sign, direction: float) -> None:
    log_alpha = torch.tensor(math.log(2.0), requires_grad=True)
    # Entropy -1 (log_prob 1) below the target of 0.5: alpha should grow, so the gradient should be negative.
    loss = losses.temperature_loss(log_alpha, tensor([0.5, 1.5]), target_entropy=0.5, sign=sign)
    close(loss.detach(), -direction * math.log(2.0) * 1.5)
    loss.backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.item() == pytest.approx(-direction * 1.5)


def test_printed_equation_4_raises_alpha_when_there_is_too_much_entropy() -> None:
    log_prob, bounds = tensor([-3.0, -1.0]), (0.1, 1.05)  # entropy 2, target -1: too much by 3
    close(losses.additive_temperature(tensor(1.0), log_prob, -1.0, 0.01, bounds), 1.03)
    close(losses.additive_temperature(tensor(1.0), log_prob, -1.0, 0.01, bounds, sign="correct"), 0.97)
    close(losses.additive_temperature(tensor(1.0), log_prob, -1.0, 0.1, bounds), 1.05)
    close(losses.additive_temperature(tensor(0.2), log_prob, -1.0, 0.1, bounds, sign="correct"), 0.1)


def test_printed_sign_runs_away_and_the_correct_one_settles() -> None:
    """A policy whose entropy grows with alpha, stood in for by ``entropy = 2 log alpha``; the target is 1."""
    found = {}
    for sign in ("printed", "correct"):
        alpha = tensor(2.0)
        for _ in range(3000):
            alpha = losses.additive_temperature(alpha, -2.0 * alpha.log()[None], 1.0, 0.01, (1e-3, 10.0), sign)
        found[sign] = alpha.item()
    assert found["printed"] == 10.0
    assert found["correct"] == pytest.approx(math.exp(0.5), rel=1e-3)
