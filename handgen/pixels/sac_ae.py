"""SAC+AE: soft actor-critic from pixels with a regularised autoencoder, as a LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from handgen.pixels.autoencoder import (
    PUBLISHED_STRIDES,
    ConvEncoder,
    Decoder,
    LatentTrunk,
    autoencoder_loss,
    reconstruction_target,
)
from handgen.pixels.auxiliary import AuxiliarySAC

Batch = dict[str, Any]


class SACAE(AuxiliarySAC):
    """SAC+AE: Yarats et al. 2021, arXiv:1910.01741.

    Convolutions are shared by both critics, the actor and the decoder. The critics' loss and the reconstruction train
    them, the actor's loss never does. The reconstruction, with its penalties, is an objective of its own with an
    optimiser of its own::

        E[MSE(g(f(o)), quantised o) + lambda_z |f(o)|^2 / 2]        eq. 5, from Ghosh et al. 2020

    Differences from the published code, numbered as in docs/pixels.md:

    1. The critics' and the actor's step are one (:class:`handgen.sac.SAC`), so that the actor sees the critics before
       their step; the autoencoder's step comes after both, as published.
    2. The convolutions of a batch are computed once for critics and actor.
    3. The log standard deviation lies in ``log_std_bounds`` by tanh, as in the published code.

    A batch is that of :class:`handgen.sac.SAC` with uint8 stacks (B, 3 frame_stack, H, W) as ``obs`` and ``next_obs``.

    Args:
        action_dim: number of actions A.
        image_size: height and width of a frame.
        frame_stack: frames in an observation.
        strides: of the convolutions; ``[2, 2, 2, 1]`` is a fifth of the work.
        filters: of the convolutions.
        latent_dim: L.
        squash: end the latent with tanh.
        decoder_lr: learning rate of the reconstruction, for encoder, critics' trunk and decoder.
        decoder_weight: lambda_theta, weight decay of the decoder.
        latent_weight: lambda_z.
        reconstruct_every_updates: updates between two of the reconstruction.
        kwargs: those of :class:`handgen.sac.SAC`.
    """

    def __init__(
        self,
        action_dim: int,
        image_size: int = 84,
        frame_stack: int = 3,
        strides: Sequence[int] = PUBLISHED_STRIDES,
        filters: int = 32,
        latent_dim: int = 50,
        squash: bool = True,
        decoder_lr: float = 1e-3,
        decoder_weight: float = 1e-7,
        latent_weight: float = 1e-6,
        reconstruct_every_updates: int = 1,
        **kwargs: Any,
    ) -> None:
        channels = 3 * frame_stack
        encoder = ConvEncoder(channels, image_size, strides, filters)
        super().__init__(
            obs_dim=0,
            action_dim=action_dim,
            encoder=encoder,
            trunk=lambda: LatentTrunk(encoder.feature_dim, latent_dim, squash),
            **kwargs,
        )
        self.save_hyperparameters(ignore=["encoder", "trunk"])
        self.decoder = Decoder(encoder, channels, latent_dim, strides)

    @property
    def auxiliary_every_updates(self) -> int:
        """Updates between two of the reconstruction."""
        return int(self.hparams["reconstruct_every_updates"])

    def auxiliary_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction of the batch's stacks through the critics' latent."""
        obs = batch["obs"]
        latent = self.online.trunk(self.online.encoder(obs))
        target = reconstruction_target(obs, torch.rand(obs.shape, device=obs.device))
        return {"recon": autoencoder_loss(self.decoder(latent), target, latent, self.hparams["latent_weight"])}

    def auxiliary_groups(self) -> list[dict[str, Any]]:
        """Encoder and critics' trunk without weight decay, decoder with."""
        lr = self.hparams["decoder_lr"]
        shared = [*self.online.encoder.parameters(), *self.online.trunk.parameters()]
        decay = self.hparams["decoder_weight"]
        return [
            {"name": "encoder", "params": shared, "lr": lr},
            {"name": "decoder", "params": list(self.decoder.parameters()), "lr": lr, "weight_decay": decay},
        ]

    @torch.no_grad()
    def reconstruct(self, obs: Tensor) -> Tensor:
        """Stacks uint8 (B, C, H, W) through the autoencoder, as images in [0, 1]."""
        images: Tensor = self.decoder(self.online.trunk(self.online.encoder(obs))) + 0.5
        return images.clamp(0.0, 1.0)
