"""Light and colour: from a relief to linear RGB, with a two-chromophore skin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy.digits import Relief
from handgen.anatomy.parameters import HandParameters
from handgen.anatomy.shape import Frame, column

BASE_REFLECTANCE = (0.93, 0.80, 0.66)
"""Linear RGB of skin without melanin and blood."""
MELANIN_ABSORPTION = (0.95, 1.28, 1.75)
BLOOD_ABSORPTION = (0.08, 0.78, 0.70)
"""Beer-Lambert absorption per unit of each chromophore, linear RGB: melanin falls towards red (about lambda^-3.3,
Jacques 1998), haemoglobin absorbs green and blue. Scaled so that ITA covers +80 to below -60 degrees."""
SURFACE_REFLECTANCE = 0.006
TABLE_MM = -9.0
"""Height of the surface that the hand lies on."""


def blur(image: Tensor, radius: int) -> Tensor:
    """Two box filters, close to a Gaussian; (B, R, R). Sums in a fixed order, so batch size changes nothing."""
    for _ in range(2):
        image = F.avg_pool2d(F.pad(image[:, None], (radius,) * 4, mode="replicate"), 2 * radius + 1, stride=1)[:, 0]
    return image


def soft(image: Tensor, radius: int, reduce: int) -> Tensor:
    """A wide blur made at a lower resolution; (B, R, R)."""
    small = blur(F.avg_pool2d(image[:, None], reduce)[:, 0], radius)
    return F.interpolate(small[:, None], scale_factor=reduce, mode="bilinear", align_corners=False)[:, 0]


def _shading(frame: Frame, height: Tensor, p: HandParameters) -> tuple[Tensor, Tensor]:
    """Wrapped diffuse term 0..1 and highlight 0..1 of the relief, (B, R, R) each."""
    half = column(0.5 / frame.pitch)
    padded = F.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx = ((padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * half).clamp_(-1.6, 1.6)
    dy = ((padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * half).clamp_(-1.6, 1.6)
    inverse = torch.addcmul(torch.addcmul(torch.ones_like(dx), dx, dx), dy, dy).rsqrt_()
    azimuth, elevation = p.light[:, 0], p.light[:, 1]
    lx, ly, lz = azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()
    facing = (column(lz) - dx * column(lx) - dy * column(ly)) * inverse
    return ((facing + 0.25) / 1.25).clamp_(0.0, 1.0), facing.clamp(0.0, 1.0).pow_(24)


def _occlusion(relief: Relief, cover: Tensor) -> Tensor:
    """How open the sky is above each point of the hand, 0..1: from the surface's depth below its surroundings."""
    ground = TABLE_MM + (relief.height.clamp(min=TABLE_MM) - TABLE_MM) * cover
    wide = (soft(ground, 2, 4) - ground).clamp_(min=0.0)
    near = (blur(ground, 1) - ground).clamp_(min=0.0)
    return (1.0 - 0.05 * wide - 0.14 * near).clamp_(0.35, 1.0)


def _mottling(noise: Tensor, resolution: int) -> Tensor:
    """Smooth random field of unit scale from coarse noise (B, n, n), as (B, R, R)."""
    return F.interpolate(noise[:, None], size=(resolution, resolution), mode="bilinear", align_corners=False)[:, 0]


def shade_hand(frame: Frame, relief: Relief, p: HandParameters, noise: Tensor, fine: Tensor, cover: Tensor) -> Tensor:
    """Linear RGB of the hand, (B, 3, R, R).

    Args:
        frame: the pixels.
        relief: the surface.
        p: skin and light.
        cover: silhouette 0..1, (B, R, R).
        noise: coarse random fields, (B, n, n), for blood and melanin.
        fine: coarse random fields, (B, n, n), for blood and melanin.
    """
    palmar = 1.0 - p.view
    diffuse, highlight = _shading(frame, relief.height, p)
    openness = _occlusion(relief, cover)
    uneven, spots = _mottling(noise, frame.resolution), _mottling(fine, frame.resolution)
    melanin = column(p.melanin * (1 - palmar * p.pallor))
    melanin = melanin * (1.0 + column(0.05 * p.mottling) * spots) + relief.crease * column(
        0.1 + 0.28 * p.melanin.clamp(max=1.2)
    )
    blood = column(p.blood) * (1.0 + column(0.22 * p.mottling) * uneven + 0.7 * relief.tip)
    blood = blood + relief.crease * 0.32
    nail = relief.nail
    melanin = melanin * (1.0 - 0.72 * nail)
    blood = blood * (1.0 - 0.25 * nail) + 0.05 * nail
    light = column(p.ambient) * openness + column(1.0 - p.ambient) * diffuse * (0.35 + 0.65 * openness)
    gloss = highlight * (0.02 + 0.10 * nail) * openness
    channels = []
    for base, m, b, bleed in zip(
        BASE_REFLECTANCE, MELANIN_ABSORPTION, BLOOD_ABSORPTION, (0.82, 1.04, 1.08), strict=True
    ):
        albedo = base * torch.exp(-(m * melanin + b * blood)) + SURFACE_REFLECTANCE
        channels.append(torch.addcmul(gloss, albedo, light.pow(bleed)))  # red light bleeds into the shadows of skin
    return torch.stack(channels, dim=1)


def paint_background(frame: Frame, p: HandParameters, noise: Tensor, cover: Tensor) -> Tensor:
    """Linear RGB behind the hand, (B, 3, R, R): plain, a little uneven, with the hand's contact shadow."""
    grid = torch.linspace(-1, 1, frame.resolution)
    slope = column(p.gradient[:, 0]) * grid[None, None, :] + column(p.gradient[:, 1]) * grid[None, :, None]
    vignette = 0.05 * (grid[None, None, :] ** 2 + grid[None, :, None] ** 2)
    level = 1.0 + slope - vignette + 0.006 * _mottling(noise, frame.resolution)
    moved = torch.roll(cover, shifts=(2, 2), dims=(1, 2))
    near, far = soft(moved, 1, 2), soft(moved, 2, 8)
    level = level * (1.0 - column(p.shadow) * (0.38 * near + 0.3 * far))
    return p.background.float()[:, :, None, None] * level[:, None]


def add_sleeve(
    frame: Frame, rgb: Tensor, cover: Tensor, distance: Tensor, p: HandParameters, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Cover the forearm with cloth where the parameters say so; returns colour (B, 3, R, R) and silhouette."""
    origin = torch.zeros_like(p.tilt)
    edge = frame.along(torch.tensor([[0.12, 1.0]]).double().expand_as(origin), origin) - column(p.sleeve_mm)
    depth = torch.maximum(edge, distance - 4.0)
    on = (0.5 - depth / column(frame.pitch)).clamp_(0.0, 1.0) * column(p.sleeve)
    folds = 0.75 + 0.25 * (1.0 + distance * 0.06).clamp(0.0, 1.0).neg() + 0.06 * _mottling(noise, frame.resolution)
    cloth = p.sleeve_rgb.float()[:, :, None, None] * folds[:, None]
    return torch.lerp(rgb, cloth, on[:, None]), torch.maximum(cover, on)
