"""Samplers that are fitted to one set of encoded training images when they are first asked for."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.vae.samplers import Sampler, fit_sampler


@dataclass
class FittedSamplers:
    """Samplers by name, fitted on first use and kept.

    Attributes:
        latent_dim: Number of latent dimensions L.
        components: Of the mixture.
        second_stage: Kind of the second stage.
        second_stage_steps: Optimiser steps of the second stage.
        encoded: Posterior means and log variances of the training images, (N, L) each, or None.
        seed: Of everything random in the fits.
    """

    latent_dim: int
    components: int
    second_stage: Literal["flow", "vae"]
    second_stage_steps: int
    encoded: tuple[Tensor, Tensor] | None = None
    seed: int = 0
    fitted: dict[str, Sampler] = field(default_factory=dict)

    def prepare(self, encoded: tuple[Tensor, Tensor] | None) -> None:
        """Forget what is fitted and take other encoded images, or none."""
        self.encoded, self.fitted = encoded, {}

    @torch.inference_mode(False)  # Lightning tests in inference mode, in which nothing could be trained
    def get(self, name: str) -> Sampler:
        """Return one sampler.

        Raises:
            UserError: If the name is unknown, or the sampler needs training images and there are none.
        """
        if name not in self.fitted:
            free = name == "prior" or name.startswith("temperature_")
            if self.encoded is None and not free:
                raise UserError(
                    f"sampler {name!r} is fitted on training images: call prepare_sampling(datamodule) first"
                )
            empty = torch.zeros(1, self.latent_dim)
            mu, log_var = self.encoded or (empty, empty)
            self.fitted[name] = fit_sampler(
                name, mu, log_var, self.components, self.second_stage, self.second_stage_steps, self.seed
            )
        return self.fitted[name]
