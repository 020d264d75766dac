"""Samples of a trained tuner: start, displace, and optionally choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from handgen.vae.samplers import Sampler

Move = Callable[[Tensor, Generator | None], Tensor]
"""(B, L) standardised latents to tuned ones; a generator asks for sampled actions, None for the mean action."""
Value = Callable[[Tensor], Tensor]
"""(B, L) standardised latents to numbers (B,) that say how good they are."""
BATCH = 256


@dataclass
class TunedSampler:
    """Latents of a start distribution, moved by the tuner.

    Attributes:
        start: where latents are drawn.
        move: the policy, on standardised latents.
        standardise: (B, L) latents to standardised ones.
        to_latent: and back.
        sampled: take sampled actions rather than the mean action.
        candidates: starts for each sample; the critics, who know rewards without decoding, choose among them.
        value: of a start under the policy, by the critics: needed for ``candidates`` above 1.
        quality: of a latent, decoded: with it a move that lowers it is taken back ("keep the better").
        decoder_calls: images decoded beyond the one per sample that whoever uses the latents decodes anyway.
    """

    start: Sampler
    move: Move
    standardise: Callable[[Tensor], Tensor]
    to_latent: Callable[[Tensor], Tensor]
    sampled: bool = False
    candidates: int = 1
    value: Value | None = None
    quality: Value | None = None
    decoder_calls: int = 0

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents, on the CPU."""
        drawn = self.start.sample(count * self.candidates, generator)
        return torch.cat([self._tune(part, generator) for part in torch.split(drawn, BATCH * self.candidates)])

    def _tune(self, drawn: Tensor, generator: Generator | None) -> Tensor:
        """Choose among, and move, one batch of (B * candidates, L) latents."""
        start = self.standardise(drawn)
        if self.candidates > 1 and self.value is not None:
            rows = torch.arange(len(start) // self.candidates, device=start.device)
            start = start.view(-1, self.candidates, start.shape[1])
            start = start[rows, self.value(start.flatten(0, 1)).view(-1, self.candidates).argmax(1)]
        tuned = self.move(start, generator if self.sampled else None)
        if self.quality is not None:
            tuned = keep_better(start, tuned, self.quality)
            self.decoder_calls += len(tuned)  # both were decoded, one of them is what is used
        return self.to_latent(tuned).cpu()


def keep_better(start: Tensor, tuned: Tensor, quality: Value) -> Tensor:
    """The tuned latent where it is better, else the start (RL-AD-Net's gate, arXiv:2511.17054).

    Args:
        start: (B, L).
        tuned: (B, L).
        quality: of latents, (B,).
    """
    return torch.where((quality(tuned) > quality(start))[:, None], tuned, start)
