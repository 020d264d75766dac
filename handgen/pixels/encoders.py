"""What agents that see pixels make of a stack of frames: convolutions, keypoints, or both side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handgen.keypoints.networks import KeyNet
from handgen.pixels.autoencoder import ConvEncoder, LatentTrunk
from handgen.pixels.images import to_image


class PixelEncoder(nn.Module):
    """Features of convolutions and coordinates of keypoints of the same stacks, side by side.

    Args:
        convolutions: of SAC+AE; None leaves them out.
        keynet: of IMM, for whole stacks; None leaves it out.
        moves_keypoints: let gradients through to the keypoints.
    """

    def __init__(self, convolutions: ConvEncoder | None, keynet: KeyNet | None, moves_keypoints: bool = False) -> None:
        super().__init__()
        self.convolutions, self.keynet, self.moves_keypoints = convolutions, keynet, moves_keypoints
        self.conv_dim = convolutions.feature_dim if convolutions is not None else 0
        self.feature_dim = self.conv_dim + (2 * keynet.keypoints if keynet is not None else 0)

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks (B, C, H, W), uint8 or in [0, 1], to (B, F)."""
        image, parts = to_image(obs), []
        if self.convolutions is not None:
            parts.append(self.convolutions(image))
        if self.keynet is not None:
            parts.append(self.keypoints(self.keynet, image).flatten(1))
        return torch.cat(parts, dim=1)

    def keypoints(self, keynet: KeyNet, image: Tensor) -> Tensor:
        """Keypoints (B, K, 2), normalised as in evaluation: a decision is a batch of one."""
        training = keynet.training
        keynet.eval()
        with torch.set_grad_enabled(self.moves_keypoints and torch.is_grad_enabled()):
            keypoints: Tensor = keynet(image)
        keynet.train(training)
        return keypoints


class PixelTrunk(nn.Module):
    """The latent of the convolutions' features, and the keypoints as they are.

    Args:
        encoder: whose output it takes.
        latent_dim: L.
        squash: end the latent with tanh.
    """

    def __init__(self, encoder: PixelEncoder, latent_dim: int = 50, squash: bool = True) -> None:
        super().__init__()
        self.conv_dim = encoder.conv_dim
        self.latent = LatentTrunk(encoder.conv_dim, latent_dim, squash) if encoder.conv_dim else None
        self.feature_dim = encoder.feature_dim - self.conv_dim + (latent_dim if self.latent is not None else 0)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) to (..., L + 2 K)."""
        if self.latent is None:
            return features
        return torch.cat([self.latent(features[..., : self.conv_dim]), features[..., self.conv_dim :]], dim=-1)
