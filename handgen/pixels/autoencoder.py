"""The regularised autoencoder of SAC+AE: networks, targets and losses.

Yarats et al. 2021, *Improving Sample Efficiency in Model-Free Reinforcement Learning from Images*, arXiv:1910.01741.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.errors import UserError, check_at_least, check_choices, check_positive, check_ranges
from handgen.pixels.images import to_image
from handgen.precision import Compute, autocast
from handgen.sac.networks import EnsembleLinear

KERNEL = 3
PUBLISHED_STRIDES = (2, 1, 1, 1)
"""Strides of SAC+AE: 84 pixels become 35 x 35. Those of Stooke et al. 2021 (arXiv:2009.08319), 2, 2, 2, 1, make 7 x 7
of them, with a fifth of the work."""


class ConvEncoder(nn.Module):
    """Convolutions over a stack of frames, shared by actor, critics and decoder ("tied" in the paper's words).

    Args:
        channels: of a stack, 3 for each frame.
        size: height and width in pixels.
        strides: of the 3x3 convolutions without padding.
        filters: of each.
        compute: number format of the convolutions: ``auto``, ``float32`` or ``bfloat16`` (`handgen.precision`).

    Raises:
        UserError: if the image is too small for these strides.
    """

    def __init__(
        self,
        channels: int = 9,
        size: int = 84,
        strides: Sequence[int] = PUBLISHED_STRIDES,
        filters: int = 32,
        compute: Compute = "float32",
    ) -> None:
        super().__init__()
        self.compute = compute
        self.sizes = map_sizes(size, strides)
        inputs = [channels, *[filters] * (len(strides) - 1)]
        self.layers = nn.Sequential()
        for width, stride in zip(inputs, strides, strict=True):
            self.layers += nn.Sequential(nn.Conv2d(width, filters, KERNEL, stride), nn.ReLU(inplace=True))
        self.map_shape = (filters, self.sizes[-1], self.sizes[-1])
        self.feature_dim = filters * self.sizes[-1] ** 2
        self.apply(delta_orthogonal)
        # A third faster on a CPU, and more with larger strides.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks (B, C, H, W), uint8 or in [0, 1], to features (B, F)."""
        with autocast(obs.device, self.compute):
            features: Tensor = self.layers(to_image(obs))
        return features.flatten(1).float()


class LatentTrunk(nn.Module):
    """What actor and critics have one each of: a linear layer to the latent, LayerNorm, tanh.

    Args:
        inputs: features F of the convolutions.
        latent_dim: L.
        squash: end with tanh, as published; Stooke et al. leave it out.
    """

    def __init__(self, inputs: int, latent_dim: int = 50, squash: bool = True) -> None:
        super().__init__()
        self.linear, self.norm, self.squash = nn.Linear(inputs, latent_dim), nn.LayerNorm(latent_dim), squash
        self.feature_dim = latent_dim
        self.linear.apply(delta_orthogonal)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B, L)."""
        latent: Tensor = self.norm(self.linear(features))
        return torch.tanh(latent) if self.squash else latent


class Decoder(nn.Module):
    """Mirror image of `ConvEncoder`, from the critics' latent to a stack; nothing bounds its output.

    Args:
        encoder: whose mirror image it is.
        channels: of a stack.
        latent_dim: L.
        strides: of the encoder.
    """

    def __init__(self, encoder: ConvEncoder, channels: int, latent_dim: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.map_shape, self.compute = encoder.map_shape, encoder.compute
        filters = self.map_shape[0]
        self.linear = nn.Linear(latent_dim, encoder.feature_dim)
        layers: list[nn.Module] = []
        for after, before, stride in zip(encoder.sizes[:0:-1], encoder.sizes[-2::-1], reversed(strides), strict=True):
            left = before - ((after - 1) * stride + KERNEL)  # rows that a stride left over
            first = before == encoder.sizes[0]
            width = channels if first else filters
            layers += [nn.ConvTranspose2d(filters, width, KERNEL, stride, output_padding=left)]
            layers += [] if first else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.apply(delta_orthogonal)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latent: Tensor) -> Tensor:
        """(B, L) to stacks (B, C, H, W) around [-0.5, 0.5]."""
        maps = torch.relu(self.linear(latent)).unflatten(1, self.map_shape)
        with autocast(latent.device, self.compute):
            stacks: Tensor = self.layers(maps.contiguous(memory_format=torch.channels_last))
        return stacks.float()


class FrameAutoencoder(nn.Module):
    """Encoder, latent and decoder of SAC+AE, learnt from frames by themselves, for agents that keep what they say.

    Args:
        image_channels: of the frames that one latent describes, 3 for each.
        image_size: height and width in pixels.
        strides: of the convolutions.
        filters: of the convolutions.
        latent_dim: L.
        squash: end the latent with tanh.
        lr: learning rate.
        decoder_weight: lambda_theta, weight decay of the decoder.
        latent_weight: lambda_z.
        compute: number format of the convolutions (`ConvEncoder`).

    Raises:
        UserError: for a setting out of range.
    """

    def __init__(
        self,
        image_channels: int = 3,
        image_size: int = 84,
        strides: Sequence[int] = (2, 2, 2, 1),
        filters: int = 32,
        latent_dim: int = 50,
        squash: bool = True,
        lr: float = 1e-3,
        decoder_weight: float = 1e-7,
        latent_weight: float = 1e-6,
        compute: Compute = "auto",
    ) -> None:
        check_choices(compute=(compute, Compute))
        check_strides(strides)
        check_positive(lr=lr)
        check_at_least(1, latent_dim=latent_dim, filters=filters)
        check_at_least(0, decoder_weight=decoder_weight, latent_weight=latent_weight)
        super().__init__()
        self.latent_dim, self.lr = latent_dim, lr
        self.decoder_weight, self.latent_weight = decoder_weight, latent_weight
        self.convolutions = ConvEncoder(image_channels, image_size, strides, filters, compute)
        self.latent = LatentTrunk(self.convolutions.feature_dim, latent_dim, squash)
        self.decoder = Decoder(self.convolutions, image_channels, latent_dim, strides)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, C, H, W), uint8 or in [0, 1], to latents (N, L)."""
        latent: Tensor = self.latent(self.convolutions(frames))
        return latent

    def loss(self, frames: Tensor) -> Tensor:
        """SAC+AE's eq. 5 on frames, uint8 (N, C, H, W): scalar."""
        latent = self(frames)
        target = reconstruction_target(frames, torch.rand_like(frames, dtype=torch.float32))
        return autoencoder_loss(self.decoder(latent), target, latent, self.latent_weight)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder without weight decay, the decoder with."""
        encoder = [*self.convolutions.parameters(), *self.latent.parameters()]
        decoder = list(self.decoder.parameters())
        return [
            {"name": "encoder", "params": encoder, "lr": self.lr},
            {"name": "decoder", "params": decoder, "lr": self.lr, "weight_decay": self.decoder_weight},
        ]


def build_autoencoder(settings: dict[str, Any], **sizes: Any) -> FrameAutoencoder:
    """An autoencoder for an agent.

    Args:
        settings: arguments of `FrameAutoencoder`, as written in an experiment.
        sizes: the shape of the agent's images.

    Raises:
        UserError: for a setting that there is not, or of the wrong type.
    """
    own = set(sizes) & set(settings)
    if own:
        raise UserError(f"autoencoder: {', '.join(sorted(own))} cannot be set: it sees what the agent sees")
    try:
        return FrameAutoencoder(**sizes, **settings)
    except TypeError as error:
        why = str(error).removeprefix("FrameAutoencoder.__init__() ")
        there = ", ".join(name for name in inspect.signature(FrameAutoencoder).parameters if name not in sizes)
        raise UserError(f"autoencoder: {why} (there are {there})") from error


def check_strides(strides: Sequence[int]) -> None:
    """Refuse strides that are none.

    Raises:
        UserError: if there is none, or one below 1.
    """
    check_ranges(strides=(list(strides), len(strides) > 0 and min(strides) >= 1, "be at least 1 each"))


def map_sizes(size: int, strides: Sequence[int]) -> list[int]:
    """Height of the image and of the map after each convolution.

    Raises:
        UserError: if nothing is left of the image.
    """
    sizes = [size]
    for stride in strides:
        if sizes[-1] < KERNEL:
            raise UserError(f"an image of {size} pixels is too small for strides {tuple(strides)}: raise the size")
        sizes.append((sizes[-1] - KERNEL) // stride + 1)
    return sizes


@torch.no_grad()
def delta_orthogonal(layer: nn.Module) -> None:
    """Initialise as published: orthogonal linear layers; convolutions orthogonal at their centre, 0 elsewhere.

    Xiao et al. 2018, arXiv:1806.05393.

    Args:
        layer: changed in place; layers of other kinds stay as they are.
    """
    if isinstance(layer, nn.Linear):
        nn.init.orthogonal_(layer.weight)
        nn.init.zeros_(layer.bias)
    if isinstance(layer, EnsembleLinear):
        for weight in layer.weight:
            nn.init.orthogonal_(weight)
        nn.init.zeros_(layer.bias)
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        layer.weight.zero_()
        centre = torch.empty(layer.weight.shape[:2])
        nn.init.orthogonal_(centre, nn.init.calculate_gain("relu"))
        layer.weight[:, :, KERNEL // 2, KERNEL // 2] = centre
        if layer.bias is not None:
            layer.bias.zero_()


def reconstruction_target(obs: Tensor, noise: Tensor, bits: int = 5) -> Tensor:
    """What the decoder is asked for: the stack in few bits, dequantised by noise, around 0 (SAC+AE, appendix).

    ``floor(x / 2^(8 - bits)) / 2^bits + noise / 2^bits - 1/2``, after Kingma and Dhariwal 2018 (arXiv:1807.03039).

    Args:
        obs: uint8 (B, C, H, W).
        noise: (B, C, H, W) uniform in [0, 1).
        bits: kept of eight.

    Returns:
        (B, C, H, W) in [-0.5, 0.5).
    """
    return (noise + (obs >> (8 - bits))).div_(2.0**bits).sub_(0.5)  # in place: what costs here is memory


def autoencoder_loss(reconstruction: Tensor, target: Tensor, latent: Tensor, latent_weight: float = 1e-6) -> Tensor:
    """Deterministic regularised autoencoder: ``MSE + lambda mean_b(|z_b|^2 / 2)`` (SAC+AE eq. 5; Ghosh et al. 2020).

    The penalty on the decoder's weights is the optimiser's weight decay.

    Args:
        reconstruction: (B, C, H, W).
        target: (B, C, H, W).
        latent: (B, L) the critics' latent, after the tanh.
        latent_weight: lambda.
    """
    penalty = 0.5 * latent.square().sum(1).mean()
    return F.mse_loss(reconstruction, target) + latent_weight * penalty
