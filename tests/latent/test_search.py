"""The baselines count what they decode, and search as their names say."""

import pytest
import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.latent.search import BestOf, CrossEntropy, GradientAscent, Rejection
from handgen.latent.tuned import TunedSampler, keep_better
from handgen.vae.samplers import standard_normal


class Counted:
    """Score that is best at 2 in both dimensions, above 0 within a distance of 1; counts its images."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, latent: Tensor) -> Tensor:
        self.images += len(latent)
        return 1.0 - (latent - 2.0).square().sum(1)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_best_of_k_takes_the_best_and_counts_k_minus_one() -> None:
    score = Counted()
    sampler = BestOf(standard_normal(2), score, k=8)
    got = sampler.sample(5, generator())
    all_drawn = standard_normal(2).sample(40, generator()).view(5, 8, 2)
    torch.testing.assert_close(got, torch.stack([draws[score(draws).argmax()] for draws in all_drawn]))
    assert sampler.decoder_calls == 5 * 7
    sampler.sample(3, generator())
    assert sampler.decoder_calls == 8 * 7


def test_rejection_stops_where_the_judge_accepts() -> None:
    score = Counted()
    sampler = Rejection(standard_normal(2), score, most=500)
    got = sampler.sample(6, generator())
    assert (Counted()(got) > 0).all()
    assert score.images == sampler.decoder_calls + 6  # the last one of each is the caller's own


def test_rejection_gives_up_with_the_best_so_far() -> None:
    score = Counted()
    sampler = Rejection(standard_normal(2), lambda z: score(z) - 1000.0, most=4)
    got = sampler.sample(7, generator())
    assert sampler.decoder_calls == 7 * 3
    first = standard_normal(2).sample(7, generator())
    assert (Counted()(got) >= Counted()(first)).all()


def test_gradient_ascent_climbs_and_counts_three_a_step() -> None:
    sampler = GradientAscent(standard_normal(2), Counted(), steps=60, deviation=torch.ones(2), lr=0.2)
    got = sampler.sample(4, generator())
    assert sampler.decoder_calls == 4 * 60 * 3
    assert not got.requires_grad
    torch.testing.assert_close(got, torch.full((4, 2), 2.0), atol=0.3, rtol=0.0)


def test_the_cross_entropy_method_climbs_and_counts_its_generations() -> None:
    score = Counted()
    sampler = CrossEntropy(standard_normal(2), score, population=40, generations=5, deviation=torch.ones(2), spread=1.5)
    got = sampler.sample(4, generator())
    assert score.images == 4 * 40 * 5
    assert sampler.decoder_calls == 4 * 40 * 5 - 4
    assert (Counted()(got) > 0).all()
    with pytest.raises(UserError, match="population"):
        CrossEntropy(standard_normal(2), score, population=3, generations=1, deviation=torch.ones(2))


def test_keep_the_better_never_lowers_the_reward() -> None:
    start, tuned = torch.randn(50, 2), torch.randn(50, 2)
    score = Counted()
    kept = keep_better(start, tuned, score)
    assert (score(kept) == torch.maximum(score(start), score(tuned))).all()


def test_the_gate_counts_and_a_plain_tuner_decodes_nothing() -> None:
    def shifted(latent: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return latent + 1.0

    plain = TunedSampler(standard_normal(2), shifted, lambda z: z, lambda z: z)
    torch.testing.assert_close(plain.sample(5, generator()), standard_normal(2).sample(5, generator()) + 1.0)
    assert plain.decoder_calls == 0
    gated = TunedSampler(standard_normal(2), shifted, lambda z: z, lambda z: z, quality=Counted())
    drawn = gated.sample(300, generator())
    assert gated.decoder_calls == 300
    assert (Counted()(drawn) >= Counted()(standard_normal(2).sample(300, generator()))).all()


def test_critics_choose_among_candidates_without_decoding() -> None:
    def still(latent: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return latent

    score = Counted()
    tuned = TunedSampler(standard_normal(2), still, lambda z: z, lambda z: z, candidates=8, value=score)
    torch.testing.assert_close(
        tuned.sample(300, generator()), BestOf(standard_normal(2), score, 8).sample(300, generator())
    )
    assert tuned.decoder_calls == 0
