"""Other ways to better latents under the same frozen decoder: what a tuner has to beat at equal decoder calls.

Each is a sampler (`handgen.vae.samplers.Sampler`) that counts in ``decoder_calls`` the images it decodes *beyond* the
one per sample that whoever uses the latents decodes anyway: a plain prior counts 0, best-of-k counts k - 1. A backward
pass through the decoder counts as two more, which is what it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from handgen.errors import UserError
from handgen.vae.samplers import Sampler

Score = Callable[[Tensor], Tensor]
"""Log-odds of validity (B,) of the images that latents (B, L) decode to; differentiable."""
BATCH = 256


def scores_of(score: Score, latents: Tensor) -> Tensor:
    """Scores of (N, L) latents without gradients, in batches, (N,) on the CPU."""
    with torch.no_grad():
        return torch.cat([score(part).cpu() for part in torch.split(latents, BATCH)])


@dataclass
class BestOf:
    """Of k draws the one that the judge likes best (best-of-n sampling).

    Attributes:
        start: where latents are drawn.
        score: the rewarded judge.
        k: draws for each sample.
        decoder_calls: images decoded beyond the one per sample.
    """

    start: Sampler
    score: Score
    k: int
    decoder_calls: int = 0

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        latents = self.start.sample(count * self.k, generator)
        scores = scores_of(self.score, latents).view(count, self.k)
        self.decoder_calls += count * (self.k - 1)
        return latents.view(count, self.k, -1)[torch.arange(count), scores.argmax(1)]


@dataclass
class Rejection:
    """Draw until the judge accepts: von Neumann's rejection with the judge's threshold.

    Attributes:
        start: where latents are drawn.
        score: the rewarded judge; above 0 is accepted.
        most: draws for a sample after which the best of them is taken.
        decoder_calls: images decoded beyond the one per sample.
    """

    start: Sampler
    score: Score
    most: int = 64
    decoder_calls: int = 0

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        kept = self.start.sample(count, generator)
        scores = scores_of(self.score, kept)
        for _ in range(self.most - 1):
            rows = (scores <= 0).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            drawn = self.start.sample(len(rows), generator)
            found = scores_of(self.score, drawn)
            self.decoder_calls += len(rows)
            better = found > scores[rows]
            kept[rows[better]], scores[rows[better]] = drawn[better], found[better]
        return kept


@dataclass
class GradientAscent:
    """Follow the judge's gradient through the decoder, with Adam: what a differentiable judge invites to.

    Attributes:
        start: where latents are drawn.
        score: the rewarded judge.
        steps: gradient steps; each decodes once and goes back once, which counts as 3 calls.
        lr: step size in standardised latents.
        deviation: standard deviation of the aggregate posterior, (L,).
        decoder_calls: images decoded beyond the one per sample.
    """

    start: Sampler
    score: Score
    steps: int
    deviation: Tensor
    lr: float = 0.1
    decoder_calls: int = 0

    @torch.inference_mode(False)
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        start = self.start.sample(count, generator)
        self.decoder_calls += 3 * self.steps * count
        return torch.cat([self._ascend(part) for part in torch.split(start, BATCH)])

    def _ascend(self, start: Tensor) -> Tensor:
        """One batch of (B, L) latents, each improved on its own."""
        with torch.enable_grad():
            move = torch.zeros_like(start, requires_grad=True)
            optimiser = torch.optim.Adam([move], lr=self.lr)
            for _ in range(self.steps):
                optimiser.zero_grad()
                torch.autograd.backward(-self.score(start + self.deviation * move).sum(), inputs=[move])
                optimiser.step()
        return start + self.deviation * move.detach()


@dataclass
class CrossEntropy:
    """Cross-entropy method (Rubinstein 1999): a normal for each sample, refitted to its best quarter.

    Attributes:
        start: where latents are drawn.
        score: the rewarded judge.
        population: latents tried in each generation.
        generations: of them.
        deviation: standard deviation of the aggregate posterior, (L,).
        spread: standard deviation of the first generation, in units of that.
        elite_share: share of a generation that the next one is fitted to.
        decoder_calls: images decoded beyond the one per sample.
    """

    start: Sampler
    score: Score
    population: int
    generations: int
    deviation: Tensor
    spread: float = 0.5
    elite_share: float = 0.25
    decoder_calls: int = 0

    def __post_init__(self) -> None:
        """Refuse a population without an elite."""
        if self.population < 4:
            raise UserError(f"the cross-entropy method needs a population of at least 4, got {self.population}")

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents: the best of each last generation."""
        mean = self.start.sample(count, generator)
        sd = (self.spread * self.deviation).expand_as(mean)
        elite = max(2, round(self.elite_share * self.population))
        for _ in range(self.generations):
            noise = torch.randn(self.population, *mean.shape, generator=generator)
            tried = mean + sd * noise
            scores = scores_of(self.score, tried.flatten(0, 1)).view(self.population, count)
            self.decoder_calls += tried.shape[0] * count
            order = scores.topk(elite, dim=0).indices
            chosen = tried.gather(0, order[..., None].expand(-1, -1, mean.shape[1]))
            mean, sd = chosen.mean(0), chosen.std(0).clamp(min=1e-3)
        self.decoder_calls -= count  # the best was decoded here already
        return chosen[0]
