"""Every term of the reward on numbers worked by hand."""

import math

import pytest
import torch
from toy_tuner import ToyJudge

from handgen.latent import reward
from handgen.latent.discriminator import CLIP, Discriminator, discriminator_loss
from handgen.latent.reward import RewardWeights


def test_the_judge_is_asked_for_its_worst_view_and_saturates() -> None:
    scores = torch.tensor([[0.0, 50.0], [math.log(3.0), 2.0]])  # two views of two images
    got = reward.judge_term(scores)
    assert got[0].item() == pytest.approx(math.log(0.5))
    assert got[1].item() == pytest.approx(-math.log1p(math.exp(-2.0)))
    assert reward.judge_term(torch.tensor([[1000.0]])).item() == 0.0


def test_blur_costs_and_sharpness_earns_nothing() -> None:
    got = reward.sharpness_term(torch.tensor([0.02, 0.01, 0.005, 0.0]), torch.tensor(0.01))
    torch.testing.assert_close(got, torch.tensor([0.0, 0.0, math.log(0.5), -3.0]))


def test_what_is_no_skin_costs_one() -> None:
    assert reward.skin_term(torch.tensor([True, False])).tolist() == [0.0, -1.0]


def test_costs() -> None:
    assert reward.displacement_cost(torch.tensor([[0.5, -0.5], [1.0, 0.0]])).tolist() == [0.25, 0.5]
    moved, start = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 2.0]])
    assert reward.prior_cost(moved, start).item() == pytest.approx(10.0)


def test_the_witness_is_positive_where_samples_are_missing() -> None:
    real, own = torch.tensor([[0.0], [10.0]]), torch.tensor([[0.0], [0.0]])
    got = reward.mmd_witness(torch.tensor([[0.0], [10.0]]), real, own)
    # Distances to real are 0, 100, 100, 0: torch's median is the lower middle, 0, and the bandwidth its floor.
    torch.testing.assert_close(got, torch.tensor([0.5 - 1.0, 0.5]))


def test_improvement_adds_up_to_last_minus_first() -> None:
    phi = torch.tensor([0.3, -1.0, 2.0, 0.5])
    assert reward.improvement(phi[1:], phi[:-1], gamma=1.0).sum().item() == pytest.approx(0.2)
    assert reward.improvement(torch.tensor(2.0), torch.tensor(1.0), gamma=0.5).item() == 0.0


def test_the_total_subtracts_costs_and_leaves_out_what_has_no_weight() -> None:
    weights = RewardWeights(judge=2.0, latent_realism=0.5, skin=0.0, displacement=3.0)
    terms = {"judge": torch.tensor([-1.0]), "latent_realism": torch.tensor([4.0]), "displacement": torch.tensor([0.5])}
    assert weights.total(terms).item() == pytest.approx(-2.0 + 2.0 - 1.5)
    assert weights.used == ("judge", "latent_realism", "sharpness", "displacement")


def test_views_begin_with_the_image_itself_and_stay_in_range() -> None:
    image = torch.rand(3, 3, 64, 64)
    seen = reward.augmented_views(image, 3)
    assert seen.shape == (3, 3, 3, 64, 64)
    assert torch.equal(seen[0], image)
    assert not torch.equal(seen[1], seen[2])
    assert seen.min() >= 0.0 and seen.max() <= 1.0


def test_measuring_leaves_out_terms_of_no_weight() -> None:
    image = torch.full((2, 3, 64, 64), 0.75)
    weights = RewardWeights(judge=1.0, skin=0.0, sharpness=0.0)
    seen = reward.measure(image, ToyJudge(), weights, 1, torch.ones(()))
    # The toy judge: 20 * 0.25 in each of three features, summed.
    torch.testing.assert_close(seen.features, torch.full((2, 3), 5.0))
    torch.testing.assert_close(seen.terms, torch.tensor([[-math.log1p(math.exp(-15.0)), 0.0, 0.0]] * 2))


def test_discriminator_loss_by_hand() -> None:
    real, fake = torch.tensor([0.0, 0.0]), torch.tensor([math.log(3.0)])
    expected = math.log(2.0) + math.log(4.0) + 0.1 * math.log(3.0) ** 2
    assert discriminator_loss(real, fake, decay=0.1).item() == pytest.approx(expected)


def test_log_odds_are_clipped_and_carry_no_gradient() -> None:
    network = Discriminator(2)
    torch.nn.init.constant_(network.net[-1].bias, 100.0)
    odds = network.log_odds(torch.zeros(3, 2))
    assert odds.tolist() == [CLIP] * 3 and not odds.requires_grad


def test_a_discriminator_learns_the_log_ratio_of_two_normals() -> None:
    torch.manual_seed(0)
    network = Discriminator(1, width=32)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(300):
        loss = discriminator_loss(network(torch.randn(256, 1) + 1.0), network(torch.randn(256, 1) - 1.0), decay=0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # log N(x; 1, 1) - log N(x; -1, 1) = 2 x
    x = torch.tensor([[-0.5], [0.0], [0.5]])
    torch.testing.assert_close(network.log_odds(x), 2.0 * x[:, 0], atol=0.35, rtol=0.0)
