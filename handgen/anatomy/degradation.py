"""What happens to an image between a camera or a decoder and a judge: blur, noise, colour, framing, background.

Judges learn under these, so that they read anatomy and not the renderer's finish (domain randomisation).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image with its own Gaussian.

    Args:
        images: (B, C, H, W).
        sigma: (B,) standard deviations in pixels; 0 leaves an image as it is.

    Returns:
        (B, C, H, W).
    """
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    grid = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (grid[None] / sigma.clamp(min=0.05)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(images.shape[1], dim=0)
    flat = images.reshape(1, -1, *images.shape[2:])
    flat = F.conv2d(
        F.pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel[:, None, None, :], groups=flat.shape[1]
    )
    flat = F.conv2d(
        F.pad(flat, (0, 0, radius, radius), mode="replicate"), kernel[:, None, :, None], groups=flat.shape[1]
    )
    return flat.reshape(images.shape)


def random_affine(
    count: int, device: torch.device, turn: float = 0.2, scale: tuple[float, float] = (0.82, 1.15), shift: float = 0.14
) -> Tensor:
    """Inverse affine maps (B, 2, 3) in [-1, 1] coordinates.

    Args:
        count: B; half of them are mirrored.
        device: where they go.
        turn: largest angle, radians.
        scale: smallest and largest.
        shift: largest, half frames.
    """
    angle = turn * (2 * torch.rand(count, device=device) - 1)
    size = scale[0] + (scale[1] - scale[0]) * torch.rand(count, device=device)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    offset = shift * (2 * torch.rand(count, 2, device=device) - 1)
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [
        torch.stack([mirror * cos, mirror * sin, offset[:, 0]], -1),
        torch.stack([-sin, cos, offset[:, 1]], -1),
    ]
    return torch.stack(rows, dim=1)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Resample images (B, C, H, W) under inverse affine maps (B, 2, 3); the border goes on outside."""
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def warp_points(points: Tensor, inverse: Tensor) -> Tensor:
    """Where `warp` moves points (B, K, 2) in [-1, 1]."""
    moved: Tensor = torch.linalg.solve(inverse[:, None, :, :2], (points - inverse[:, None, :, 2])[..., None])[..., 0]
    return moved


def recolour(images: Tensor) -> Tensor:
    """Random exposure, contrast and white balance."""
    count, device = len(images), images.device

    def draw(spread: float, *shape: int) -> Tensor:
        return 1.0 + spread * (2 * torch.rand(count, *shape, device=device) - 1)

    mean = images.mean(dim=(2, 3), keepdim=True)
    images = (images - mean) * draw(0.25, 1, 1, 1) + mean
    return images * draw(0.15, 1, 1, 1) * draw(0.06, 3, 1, 1)


def mix_colours(images: Tensor, spread: float = 0.25, chance: float = 0.5) -> Tensor:
    """Change hues at random, so that shape is learnt and not the colour of skin: each channel takes some of the others.

    Args:
        images: (B, 3, H, W).
        spread: SD of the mixture's entries.
        chance: share of the images that is changed.
    """
    count, device = len(images), images.device
    noise = spread * torch.randn(count, 3, 3, device=device)
    noise *= (torch.rand(count, 1, 1, device=device) < chance).float()
    mixture = torch.eye(3, device=device) + noise - noise.mean(dim=2, keepdim=True)  # grey stays grey
    return torch.einsum("bij,bjhw->bihw", mixture, images)


def bleach_background(images: Tensor, mask: Tensor, chance: float = 0.35) -> Tensor:
    """Overexpose what is not hand, as photographs on white paper do; (B, 3, H, W) with mask (B, 1, H, W)."""
    chosen = (torch.rand(len(images), 1, 1, 1, device=images.device) < chance).float()
    white = 0.88 + 0.12 * torch.rand(len(images), 1, 1, 1, device=images.device)
    strength = chosen * (0.5 + 0.5 * torch.rand(len(images), 1, 1, 1, device=images.device))
    return torch.lerp(images, white.expand_as(images), strength * (1 - mask))


def soften(images: Tensor, low: float = 0.0, high: float = 1.2) -> Tensor:
    """Blur with sigma in [low, high] pixels, then add a little noise: the finish of a decoder or a small camera."""
    count, device = len(images), images.device
    sigma = low + (high - low) * torch.rand(count, device=device)
    noise = 0.03 * torch.rand(count, 1, 1, 1, device=device) * torch.randn_like(images)
    return (gaussian_blur(images, sigma) + noise).clamp(0.0, 1.0)


def ghosts(images: Tensor) -> Tensor:
    """Images that are no hand although they have its colours: blends of two hands, or smears (B, 3, H, W)."""
    count, device = len(images), images.device
    other = images[torch.randperm(count, device=device)]
    share = 0.3 + 0.4 * torch.rand(count, 1, 1, 1, device=device)
    blended = torch.lerp(images, other, share)
    smeared = gaussian_blur(images, 3.0 + 3.0 * torch.rand(count, device=device))
    return torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.6, blended, smeared)
