"""SAC on keypoints: soft actor-critic that sees where things are and how they move, as a LightningModule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.keypoints.module import build_imm
from handgen.pixels.autoencoder import build_autoencoder
from handgen.pixels.keypoint_state import KeypointState, reliable_directions, shift_images, slow_directions
from handgen.sac import SAC

Batch = dict[str, Any]
KEYPOINT_CLIP = 1.0
SMALLEST_DEVIATION = 0.03
"""Coordinates that move less, in [-1, 1] units, are not blown up to unit variance: what they show is noise."""
POINTS_SAY_NOTHING = (
    "keypoints tell nothing: the best direction has a reliability of {best:.1f}, and {floor} is asked for: "
    "train them longer (--data.keypoint_updates)"
)
LATENT_SAYS_NOTHING = (
    "the autoencoder's latent jumps: its slowest direction varies {best:.1f} times as much as it changes from frame to "
    "frame, and {floor} is asked for: train it longer (--data.keypoint_updates)"
)
BATCH = 256
SHIFTS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Pixels by which frames are shifted to see how well their points follow."""


class SACIMM(SAC):
    """SAC on the keypoints that IMM finds in single frames, and on what an autoencoder makes of them if asked for.

    KeyNet (Jakab et al. 2018, arXiv:1806.07823) is learnt first, from the frames of the random decisions, and then
    stands still; the agent's state is where its points are, how they moved and what it did (`KeypointState`). The
    autoencoder is learnt beside it, and its latent of the newest frame is told without differences. So stored
    experience stays true, and a batch costs no pass through the networks. Why each of this differs from agents that
    learn to see and to act at once is measured in docs/pixels.md.

    Two kinds of batches come from :class:`handgen.datamodules.keypoint_rollouts.KeypointRollouts`: frames ``image``
    uint8 (B, 3 S, H, W), to learn to see from, and those of :class:`handgen.sac.SAC` with descriptions and
    actions (B, T, D + A) as ``obs`` and ``next_obs``.

    Args:
        action_dim: number of actions A.
        image_size: height and width of a frame.
        frame_stack: frames in an observation.
        described_frames: frames S that one set of keypoints is found in: 1, or all, as in the original.
        imm: settings of :class:`handgen.keypoints.module.IMM`.
        autoencoder: settings of :class:`handgen.pixels.autoencoder.FrameAutoencoder`, whose latent is told beside the
            keypoints (SAC+AE+IMM); None has none.
        motion_scale: factor of the differences between frames.
        see_actions: let the agent see what it did between the frames.
        smallest_reliability: signal to noise below which a direction in the space of all coordinates is left out of
            the descriptions (`reliable_directions`); None tells every coordinate by itself.
        smallest_slowness: ratio of a latent's standard deviation to that of its changes below which a direction in its
            space is left out (`slow_directions`); None tells every number by itself.
        kwargs: those of :class:`handgen.sac.SAC`.
    """

    description_mean: Tensor
    description_map: Tensor

    def __init__(
        self,
        action_dim: int,
        image_size: int = 84,
        frame_stack: int = 3,
        described_frames: int = 1,
        imm: dict[str, Any] | None = None,
        autoencoder: dict[str, Any] | None = None,
        motion_scale: float = 3.0,
        see_actions: bool = True,
        smallest_reliability: float | None = 6.0,
        smallest_slowness: float | None = 2.0,
        **kwargs: Any,
    ) -> None:
        if not 1 <= described_frames <= frame_stack:
            raise UserError(f"described_frames={described_frames}: one set of keypoints for 1 to {frame_stack} frames")
        sizes = {"image_size": image_size, "image_channels": 3 * described_frames}
        model = build_imm(imm, **sizes)
        pictures = build_autoencoder(autoencoder, **sizes) if autoencoder is not None else None
        latent_dim = pictures.latent_dim if pictures is not None else 0
        size = 2 * int(model.hparams["keypoints"]) + latent_dim
        self.descriptions = frame_stack - described_frames + 1
        state = KeypointState(self.descriptions, size, action_dim if see_actions else 0, motion_scale, latent_dim)
        super().__init__(obs_dim=0, action_dim=action_dim, encoder=state, **kwargs)
        self.save_hyperparameters(ignore=["encoder", "trunk"])
        self.hparams.pop("obs_dim")  # no argument here: load_from_checkpoint would pass it on
        self.imm, self.autoencoder = model, pictures
        self.learns_keypoints = True
        self.description_dim = size
        self.described_frames = described_frames
        self.register_buffer("description_mean", torch.zeros(size))
        self.register_buffer("description_map", torch.eye(size))

    # Seeing.

    @torch.no_grad()
    def look(self, frames: Tensor) -> None:
        """Take the background from frames, uint8 (N, 3 S, H, W), before the keypoints are learnt."""
        if self.imm.needs_background:
            self.imm.fit_background(frames)
            self._share(self.imm.background)

    @torch.no_grad()
    def settle(self, frames: Tensor) -> None:
        """Choose what is told, from frames uint8 (N, 3 S, H, W) in the order in which they came, when all is learnt.

        Raises:
            UserError: if no keypoint is reliable enough to be told, or no direction of the latent slow enough.
        """
        for buffer in self.imm.buffers():  # running statistics: each process has had batches of its own
            self._share(buffer)
        found = torch.cat([self._found(part.to(self.device)) for part in frames.split(BATCH)])
        self.description_mean.copy_(found.mean(0))
        self._share(self.description_mean)
        self.description_map.copy_(torch.diag(1.0 / found.std(0).clamp(min=SMALLEST_DEVIATION)))
        coordinates = self.description_dim - (self.autoencoder.latent_dim if self.autoencoder is not None else 0)
        if self.hparams["smallest_reliability"] is not None:
            shifted = torch.cat([self._shifted_points(part.to(self.device)) for part in frames.split(BATCH)], dim=1)
            points = found[:, :coordinates]
            told = slice(0, coordinates)
            self._tell(told, *reliable_directions(points, shifted - points), "smallest_reliability", POINTS_SAY_NOTHING)
        if self.autoencoder is not None and self.hparams["smallest_slowness"] is not None:
            told = slice(coordinates, None)
            self._tell(told, *slow_directions(found[:, told]), "smallest_slowness", LATENT_SAYS_NOTHING)
        self._share(self.description_map)

    def _tell(self, told: slice, directions: Tensor, ratios: Tensor, setting: str, otherwise: str) -> None:
        """Tell of some of what is found the directions whose ratio reaches a setting.

        Raises:
            UserError: if none does.
        """
        self._share(ratios)  # so that all go on, or none
        floor = self.hparams[setting]
        if ratios[0] < floor:
            raise UserError(f"{otherwise.format(best=float(ratios[0]), floor=floor)} or lower --model.{setting}")
        self.description_map[told, told] = directions * (ratios >= floor)

    def _share(self, buffer: Tensor) -> None:
        """Let all processes have what the first has found in its frames."""
        if self._trainer is not None and self.trainer.world_size > 1:
            torch.distributed.broadcast(buffer, 0)

    def _points(self, frames: Tensor) -> Tensor:
        """Coordinates (N, 2 K) of the keypoints of frames."""
        return self.keypoints(frames).flatten(1)

    def _found(self, frames: Tensor) -> Tensor:
        """Coordinates (N, 2 K), and beside them the autoencoder's latent where there is one."""
        points = self._points(frames)
        if self.autoencoder is None:
            return points
        return torch.cat([points, self.autoencoder(frames[:, -3 * self.described_frames :])], dim=1)

    def _shifted_points(self, frames: Tensor) -> Tensor:
        """Coordinates (S, N, 2 K) found in frames that are shifted, shifted back."""
        found = []
        for right, down in SHIFTS:
            shifted = shift_images(frames, right, down)
            offset = 2.0 * torch.tensor([right, down], device=frames.device) / frames.shape[-1]
            found.append((self.keypoints(shifted) - offset).flatten(1))
        return torch.stack(found)

    @torch.no_grad()
    def keypoints(self, obs: Tensor) -> Tensor:
        """Keypoints (N, K, 2) as (x, y) in [-1, 1] of the newest S frames of stacks uint8 (N, 3 frame_stack, H, W)."""
        training = self.imm.training
        self.imm.eval()
        keypoints: Tensor = self.imm(obs[:, -3 * self.described_frames :].float() / 255.0)
        self.imm.train(training)
        return keypoints

    @torch.no_grad()
    def describe(self, frames: Tensor) -> Tensor:
        """What is told of the newest frames of stacks, (N, D), of unit variance, 0 for what is left out.

        D is 2 K, and L more with an autoencoder.

        Args:
            frames: uint8 (N, 3 S, H, W), or more of them than S.
        """
        return (self._found(frames) - self.description_mean) @ self.description_map

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update of the keypoints, or one of the agent."""
        self.learns_keypoints = "image" in batch
        if not self.learns_keypoints:
            if self.logs_now:
                self.log("train/told_directions", self.description_map.any(dim=0).sum().float())
            return super().training_step(batch, batch_idx)
        self.env_steps.fill_(batch["env_steps"])
        terms = self.imm.terms(batch["image"].float() / 255.0)
        if self.logs_now:
            self.log("train/mse", terms["mse"])
            self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items() if name != "mse"})
        loss = self.imm.total(terms, self.global_step)
        if self.autoencoder is not None:
            reconstruction = self.autoencoder.loss(batch["image"])
            if self.logs_now:
                self.log("loss/autoencoder", reconstruction.detach())
            loss = loss + reconstruction  # of other weights: unclipped, Adam moves each as if it were alone
        return loss

    def follow(self, turn: int) -> None:
        """Move targets and mean when the agent has moved."""
        if not self.learns_keypoints:
            super().follow(turn)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of SAC, the keypoints', and the autoencoder's."""
        keypoints = {"name": "keypoints", "params": list(self.imm.parameters()), "lr": self.imm.hparams["lr"]}
        autoencoder = self.autoencoder.parameter_groups() if self.autoencoder is not None else []
        return [*super().parameter_groups(), keypoints, *autoencoder]

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the keypoints' gradients, as in ``imm.yaml``, and those of all by what the trainer is asked for."""
        torch.nn.utils.clip_grad_norm_(self.imm.parameters(), KEYPOINT_CLIP)
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> Any:
        """One Adam; rates of what sees follow the keypoints' schedule while that is learnt, the agent's stay."""
        optimiser = torch.optim.Adam(self.parameter_groups(), fused=True)
        total = self.trainer.datamodule.keypoint_updates  # type: ignore[attr-defined]

        def seeing(step: int) -> float:
            return self.imm.lr_factor(step, total)

        sees = ("keypoints", "encoder", "decoder")
        rates = [seeing if group["name"] in sees else lambda step: 1.0 for group in optimiser.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
