"""The ladder of samplers over one frozen decoder: priors, searches, the tuner, the ceiling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from handgen.anatomy.judges import to_judge_size
from handgen.errors import UserError
from handgen.latent.search import BestOf, CrossEntropy, GradientAscent, Rejection
from handgen.latent.tuned import TunedSampler
from handgen.vae.samplers import SAMPLERS, Sampler

if TYPE_CHECKING:
    from handgen.latent.module import LatentTuner

SEARCHES = ("rejection", "best_of_4", "best_of_16", "gradient_5", "gradient_16", "cem_48")
TUNED = ("tuner", "tuner_sampled", "tuner_gated", "tuner_best_of_4", "tuner_judged_4", "tuner_judged_16")
LADDER = ("temperature_0.6", "temperature_0.9", *SAMPLERS, *SEARCHES, *TUNED)
"""Names of all rungs. A number is: draws (``best_of``), gradient steps, images decoded (``cem``), candidates of the
critics (``tuner_best_of``), tuned samples that judge A chooses from (``tuner_judged``)."""
CEM_GENERATIONS = 3


class Rungs:
    """Builds samplers by name. All searches start where the tuner starts and ask the judge that rewarded it.

    Args:
        tuner: with training images encoded.
    """

    def __init__(self, tuner: LatentTuner) -> None:
        self.tuner = tuner

    def samplers(self, names: Iterable[str] | None = None) -> dict[str, Sampler]:
        """Samplers by name; None takes all that this tuner has."""
        if names is None:
            several = self.tuner.hparams["episode_length"] > 1
            names = [name for name in LADDER if not (several and name.startswith("tuner_best_of"))]
        return {name: self.sampler(name) for name in names}

    def sampler(self, name: str) -> Sampler:
        """One rung.

        Raises:
            UserError: if the name is unknown.
        """
        if name in SAMPLERS or name.startswith("temperature_"):
            return self.tuner.vae.priors.get(name)
        kind, _, number = name.rpartition("_")
        if name == "rejection":
            return Rejection(self.start, self.score)
        if kind in ("best_of", "gradient", "cem", "tuner_best_of", "tuner_judged") and number.isdigit():
            return self._numbered(kind, int(number))
        if name in TUNED:
            return self._tuned(sampled=name == "tuner_sampled", gated=name == "tuner_gated")
        raise UserError(f"unknown sampler {name!r}: choose one of {', '.join(LADDER)}")

    def _numbered(self, kind: str, number: int) -> Sampler:
        """A rung with a budget.

        Raises:
            UserError: if the budget is nothing, or the critics cannot tell what a start is worth.
        """
        if number < 1:
            raise UserError(f"{kind}_{number}: the number must be at least 1")
        if kind == "tuner_best_of" and self.tuner.hparams["episode_length"] > 1:
            raise UserError(
                "tuner_best_of needs episode_length=1: in longer episodes critics foresee improvements only"
            )
        deviation = self.tuner.reward.deviation.cpu()
        if kind == "best_of":
            return BestOf(self.start, self.score, number)
        if kind == "gradient":
            return GradientAscent(self.start, self.score, number, deviation)
        if kind == "cem":
            return CrossEntropy(self.start, self.score, number // CEM_GENERATIONS, CEM_GENERATIONS, deviation)
        if kind == "tuner_judged":
            return BestOf(self._tuned(), self.score, number)
        return self._tuned(candidates=number)

    def _tuned(self, sampled: bool = False, gated: bool = False, candidates: int = 1) -> TunedSampler:
        """A rung of the tuner."""
        tuner = self.tuner
        return TunedSampler(
            self.start,
            tuner.move,
            lambda latent: tuner.reward.standardise(latent.to(tuner.device)),
            tuner.reward.to_latent,
            sampled,
            candidates,
            tuner.value,
            tuner.quality if gated else None,
        )

    @property
    def start(self) -> Sampler:
        """Where the tuner starts."""
        return self.tuner.start_sampler

    def score(self, latent: Tensor) -> Tensor:
        """The rewarded judge's log-odds (B,) of decoded latents (B, L), differentiable in them."""
        image = self.tuner.decode(latent.to(self.tuner.device))
        scores: Tensor = self.tuner.reward.judge(to_judge_size(image))
        return scores
