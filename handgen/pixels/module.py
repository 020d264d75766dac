"""SAC from pixels as a LightningModule, with an autoencoder (SAC+AE), IMM, or both learnt beside the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from handgen.errors import UserError, check_ranges
from handgen.keypoints.module import build_imm
from handgen.pixels.autoencoder import (
    PUBLISHED_STRIDES,
    ConvEncoder,
    Decoder,
    LatentTrunk,
    autoencoder_loss,
    check_strides,
    delta_orthogonal,
    reconstruction_target,
)
from handgen.pixels.auxiliary import AuxiliarySAC
from handgen.pixels.encoders import PixelEncoder, PixelTrunk
from handgen.pixels.images import to_image
from handgen.precision import Compute

Batch = dict[str, Any]


def with_images(batch: Batch) -> Batch:
    """A batch whose ``obs`` and ``next_obs`` are images, for all that look at them; ``stacks`` is ``obs`` as it was."""
    obs = batch["obs"].contiguous(memory_format=torch.channels_last)
    return {**batch, "stacks": obs, "obs": to_image(obs), "next_obs": to_image(batch["next_obs"])}


class PixelSAC(AuxiliarySAC):
    """SAC+AE (Yarats et al. 2021, arXiv:1910.01741), and the original's SAC+AE+IMM and SAC+IMM.

    Convolutions are shared by both critics, the actor and the decoder. The critics' loss and the reconstruction train
    them, the actor's loss never does. The reconstruction, with its penalties, is an objective of its own with an
    optimiser of its own::

        E[MSE(g(f(o)), quantised o) + lambda_z |f(o)|^2 / 2]        eq. 5, from Ghosh et al. 2020

    With ``imm``, keypoints of the whole stack stand beside the latent or in its place; they are learnt all the time, by
    redrawing a stack from the looks of another (Jakab et al. 2018, arXiv:1806.07823). That is the original's design;
    :class:`handgen.pixels.sac_imm.SACIMM` is ours.

    Differences from the published code of SAC+AE, numbered as in docs/pixels.md:

    1. The critics' and the actor's step are one (:class:`handgen.sac.SAC`), so that the actor sees the critics before
       their step, and the convolutions of a batch are computed once for both; the autoencoder's step comes after both,
       as published. ``critics_first`` takes the published order.
    3. Of the updates caught up with after the warm-up, every second moves actor and targets, as later; the released
       script repeats one step number there, so that all of them do, as with ``delays_count: decisions``.
    4. The temperature's loss is of log alpha, published: of alpha (``temperature_step: alpha``).
    5. ``compute: auto`` takes bfloat16 for the convolutions where the processor multiplies it.

    A batch is that of :class:`handgen.sac.SAC` with uint8 stacks (B, 3 frame_stack, H, W) as ``obs`` and ``next_obs``.

    Args:
        action_dim: number of actions A.
        image_size: height and width of a frame.
        frame_stack: frames in an observation.
        autoencoder: whether there are convolutions with a decoder.
        strides: of the convolutions; ``[2, 2, 2, 1]`` is a fifth of the work.
        filters: of the convolutions.
        latent_dim: L.
        squash: end the latent with tanh.
        decoder_lr: learning rate of the reconstruction, for encoder, critics' trunk and decoder.
        decoder_weight: lambda_theta, weight decay of the decoder.
        latent_weight: lambda_z.
        imm: settings of :class:`handgen.keypoints.module.IMM` for keypoints of stacks; None has none. Their rate is
            constant here: ``lr_schedule`` and ``lr_warmup_steps`` count for nothing.
        critics_move_keypoints: let the critics' loss move the keypoints too.
        imm_batch_size: stacks of the batch that IMM sees; None takes all.
        compute: number format of the convolutions: ``auto``, ``float32`` or ``bfloat16`` (`handgen.precision`); what
            follows them, and the keypoints that the agent sees, are float32 always.
        kwargs: those of :class:`handgen.sac.SAC`.
    """

    def __init__(
        self,
        action_dim: int,
        image_size: int = 84,
        frame_stack: int = 3,
        autoencoder: bool = True,
        strides: Sequence[int] = PUBLISHED_STRIDES,
        filters: int = 32,
        latent_dim: int = 50,
        squash: bool = True,
        decoder_lr: float = 1e-3,
        decoder_weight: float = 1e-7,
        latent_weight: float = 1e-6,
        imm: dict[str, Any] | None = None,
        critics_move_keypoints: bool = False,
        imm_batch_size: int | None = None,
        compute: Compute = "auto",
        **kwargs: Any,
    ) -> None:
        if not autoencoder and imm is None:
            raise UserError("PixelSAC needs something to see with: autoencoder: true, settings of imm, or both")
        check_strides(strides)
        check_ranges(
            filters=(filters, filters >= 1, "be at least 1"),
            latent_dim=(latent_dim, latent_dim >= 1, "be at least 1"),
            decoder_lr=(decoder_lr, decoder_lr > 0, "be positive"),
            imm_batch_size=(
                imm_batch_size,
                imm_batch_size is None or imm_batch_size >= 2,
                "be at least 2: a stack is redrawn from the looks of another",
            ),
        )
        channels = 3 * frame_stack
        sizes = {"image_size": image_size, "image_channels": channels, "compute": compute}
        model = build_imm(imm, **sizes) if imm is not None else None
        convolutions = ConvEncoder(channels, image_size, strides, filters, compute) if autoencoder else None
        keynet = model.keynet if model is not None else None
        encoder = PixelEncoder(convolutions, keynet, critics_move_keypoints)
        super().__init__(
            obs_dim=0,
            action_dim=action_dim,
            encoder=encoder,
            trunk=lambda: PixelTrunk(encoder, latent_dim, squash),
            **kwargs,
        )
        self.save_hyperparameters(ignore=["encoder", "trunk"])
        self.hparams.pop("obs_dim")  # no argument here: load_from_checkpoint would pass it on
        self.actor.trunk.apply(delta_orthogonal)
        self.draw_weights()
        self.target.critics.load_state_dict(self.online.critics.state_dict())
        if self.mean_actor is not None:
            self.mean_actor.load_state_dict(self.actor.state_dict())
        self.decoder = Decoder(convolutions, channels, latent_dim, strides) if convolutions is not None else None
        self.imm = model
        if model is not None and model.needs_background:
            raise UserError(
                "keypoints of stacks have no background: set foreground_weight and equivariance_weight to 0"
            )

    def draw_weights(self) -> None:
        """Draw the weights of the heads, orthogonal as published."""
        super().draw_weights()
        for part in self.heads:
            part.apply(delta_orthogonal)

    # Use.

    @torch.no_grad()
    def keypoints(self, obs: Tensor) -> Tensor:
        """Keypoints (N, K, 2) as (x, y) in [-1, 1] of stacks (N, 3 frame_stack, H, W); K is 0 without ``imm``."""
        encoder = cast(PixelEncoder, self.online.encoder)
        if encoder.keynet is None:
            return torch.zeros(len(obs), 0, 2, device=obs.device)
        return encoder.keypoints(encoder.keynet, to_image(obs))

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update on a batch of transitions."""
        return super().training_step(with_images(batch), batch_idx)

    def second_objective(self, batch: Batch, update: int) -> dict[str, Tensor]:
        """Reconstruction of the batch's stacks through the critics' latent, and the terms of IMM."""
        terms = {}
        if self.decoder is not None:
            convolutions, linear = self._autoencoder()
            latent = linear(convolutions(batch["obs"]))
            noise = torch.rand_like(batch["stacks"], dtype=torch.float32)
            target = reconstruction_target(batch["stacks"], noise)
            loss = autoencoder_loss(self.decoder(latent), target, latent, self.hparams["latent_weight"])
            terms["autoencoder"] = loss
        if self.imm is not None:
            image = batch["obs"][: self.hparams["imm_batch_size"]]
            terms["keypoints"] = self.imm.total(self.imm.terms(image), update)
        return terms

    def _autoencoder(self) -> tuple[ConvEncoder, LatentTrunk]:
        """The layers from a stack to the critics' latent."""
        encoder, trunk = cast(PixelEncoder, self.online.encoder), cast(PixelTrunk, self.online.trunk)
        assert encoder.convolutions is not None
        assert trunk.latent is not None
        return encoder.convolutions, trunk.latent

    def second_groups(self) -> list[dict[str, Any]]:
        """Encoder and critics' trunk without weight decay, decoder with, and IMM."""
        groups: list[dict[str, Any]] = []
        if self.decoder is not None:
            lr = self.hparams["decoder_lr"]
            shared = [parameter for part in self._autoencoder() for parameter in part.parameters()]
            decay = self.hparams["decoder_weight"]
            groups.append({"name": "encoder", "params": shared, "lr": lr})
            groups.append(
                {"name": "decoder", "params": list(self.decoder.parameters()), "lr": lr, "weight_decay": decay}
            )
        if self.imm is not None:
            groups.append({"name": "keypoints", "params": list(self.imm.parameters()), "lr": self.imm.hparams["lr"]})
        return groups

    def follow(self, turn: int) -> None:
        """Move the target networks; the target's keypoints are normalised as the online ones."""
        super().follow(turn)
        for target, online in zip(self.target.encoder.buffers(), self.online.encoder.buffers(), strict=True):
            target.copy_(online)
