"""What a hand looks like, measured without a network: sharpness, skin tone, orientation.

All functions take float images (B, 3, H, W) in [0, 1], sRGB, a plain background and at most one hand.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luma (ITU-R BT.601)."""
ITA_RANGE = (-90.0, 85.0)
"""Individual typology angles of human skin, degrees (Chardon 1991): from Monk skin tone 10 (-84) to 1 (83)."""
A_RANGE = (3.0, 25.0)
B_RANGE = (3.0, 30.0)
_WHITE_D65 = (0.95047, 1.0, 1.08883)
_LINEAR_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_LEAST_CONTRAST = 4.0  # Lab units; hands on the plain backgrounds at hand keep 10 and more
_FULL_CONTRAST = 25.0
_LEAST_AREA, _LARGEST_AREA = 0.04, 0.9
_LAB_KNEE = (6 / 29) ** 3


def luma(image: Tensor) -> Tensor:
    """Luma of RGB images.

    Args:
        image: Float (B, 3, H, W) in [0, 1].

    Returns:
        Float (B, 1, H, W) in [0, 1].
    """
    weights = image.new_tensor(LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


def laplacian_variance(image: Tensor) -> Tensor:
    """Sharpness: variance of the 3x3 Laplacian of luma (Pech-Pacheco 2000), without the one-pixel border.

    Args:
        image: Float (B, 3, H, W) in [0, 1], H and W at least 3.

    Returns:
        Variance per image (B,), in squared luma units; noise raises it as much as detail does.
    """
    kernel = image.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).view(1, 1, 3, 3)
    return F.conv2d(luma(image), kernel).flatten(1).var(dim=1, unbiased=False)


def srgb_to_lab(image: Tensor) -> Tensor:
    """CIE 1976 L*a*b* of sRGB images, D65 white (IEC 61966-2-1 and CIE 15).

    Args:
        image: Float (B, 3, ...) in [0, 1].

    Returns:
        Float (B, 3, ...): L* in [0, 100], a* and b* about [-110, 110].
    """
    linear = torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055).clamp_min(0) ** 2.4)
    xyz = torch.einsum("ij,bj...->bi...", image.new_tensor(_LINEAR_TO_XYZ), linear)
    white = image.new_tensor(_WHITE_D65).view(1, 3, *([1] * (image.dim() - 2)))
    ratio = xyz / white
    cube = torch.where(ratio > _LAB_KNEE, ratio.clamp_min(_LAB_KNEE) ** (1 / 3), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = cube.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def typology_angle(lab: Tensor) -> Tensor:
    """Individual typology angle of a skin colour: atan2(L* - 50, b*) in degrees (Chardon 1991).

    Above 55 very light, 41 to 55 light, 28 to 41 intermediate, 10 to 28 tan, -30 to 10 brown, below -30 dark.

    Args:
        lab: L*a*b* colours (B, 3).

    Returns:
        Degrees (B,).
    """
    return torch.rad2deg(torch.atan2(lab[:, 0] - 50, lab[:, 2]))


def foreground_mask(image: Tensor) -> Tensor:
    """Hand mask from the plain background alone.

    The background is a plane per Lab channel, fitted to the top, left and right border where the wrist does
    not enter; a pixel's distance to it (lightness counts half, so that shadows stay outside) is split by
    Otsu's threshold (1979).

    Args:
        image: Float (B, 3, H, W) in [0, 1].

    Returns:
        Bool (B, H, W), true on the hand.
    """
    return _foreground_of_lab(srgb_to_lab(image))


def _foreground_of_lab(lab: Tensor) -> Tensor:
    """`foreground_mask` of L*a*b* images (B, 3, H, W)."""
    weights = lab.new_tensor([0.5, 1.0, 1.0]).view(1, 3, 1, 1)
    distance = ((lab - _background_plane(lab)) * weights).square().sum(dim=1).sqrt()
    # A vivid sleeve must not push the threshold above the skin.
    distance = distance.clamp_max(_FULL_CONTRAST)
    distance = F.avg_pool2d(distance[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    # Below the floor there is nothing but noise: a blank picture has no hand, and Otsu would still split it.
    return distance > otsu_threshold(distance).clamp_min(_LEAST_CONTRAST).view(-1, 1, 1)


def _background_plane(lab: Tensor) -> Tensor:
    """Plane per channel through the border off the wrist's side, refitted once without outliers."""
    height, width = lab.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=lab.device),
        torch.linspace(-1, 1, width, device=lab.device),
        indexing="ij",
    )
    rim = max(1, height // 32)
    border = torch.zeros(height, width, dtype=torch.bool, device=lab.device)
    border[:rim], border[:, :rim], border[:, -rim:] = True, True, True
    border[int(0.75 * height) :] = False
    design = torch.stack([torch.ones_like(x), x, y], dim=-1)
    points, colours = design[border], lab[:, :, border].transpose(1, 2)
    median = colours.median(dim=1, keepdim=True).values
    weight = torch.ones_like(colours[..., :1])
    prediction = median.expand_as(colours)
    for _ in range(2):
        error = (colours - prediction).norm(dim=-1, keepdim=True)
        weight = (error <= 2.5 * error.median(dim=1, keepdim=True).values + 1.0).to(lab.dtype)
        normal = (points.T * weight.transpose(1, 2)) @ points + 1e-3 * torch.eye(3, device=lab.device)
        plane = torch.linalg.solve(normal, points.T @ (weight * colours))
        prediction = points @ plane
    background: Tensor = (design.view(-1, 3) @ plane).transpose(1, 2).reshape(lab.shape)
    return background


def otsu_threshold(values: Tensor, bins: int = 128) -> Tensor:
    """Otsu's threshold of each image: the cut with the largest variance between its two sides (Otsu 1979).

    Args:
        values: Non-negative (B, H, W).
        bins: Bins of the histogram between 0 and the image's maximum.

    Returns:
        Thresholds (B,), in the unit of `values`.
    """
    flat = values.flatten(1)
    top = flat.max(dim=1, keepdim=True).values.clamp_min(1e-6)
    slots = (flat / top * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(flat.shape[0], bins, device=flat.device).scatter_add_(1, slots, torch.ones_like(flat))
    share = counts / flat.shape[1]
    below = share.cumsum(dim=1)
    mean = (share * torch.arange(bins, device=flat.device)).cumsum(dim=1)
    between = (mean[:, -1:] * below - mean).square() / (below * (1 - below)).clamp_min(1e-9)
    # Between two well separated modes the variance is flat: take the middle of the plateau.
    plateau = between >= between.max(dim=1, keepdim=True).values * (1 - 1e-6)
    positions = torch.arange(bins, device=flat.device)
    centre = (plateau * positions).sum(dim=1) / plateau.sum(dim=1)
    return (centre + 1) / bins * top[:, 0]


def median_skin_colour(image: Tensor, mask: Tensor) -> Tensor:
    """Median L*a*b* of the hand, each channel on its own.

    Args:
        image: Float (B, 3, H, W) in [0, 1].
        mask: Bool (B, H, W), true on the hand.

    Returns:
        L*a*b* (B, 3); NaN where the mask is empty.
    """
    return _median_of_lab(srgb_to_lab(image), mask)


def _median_of_lab(lab: Tensor, mask: Tensor) -> Tensor:
    """`median_skin_colour` of L*a*b* images (B, 3, H, W)."""
    # One pixel off the outline: there skin and background are mixed.
    eroded = F.max_pool2d((~mask)[:, None].to(lab.dtype), 3, stride=1, padding=1)[:, 0] < 0.5
    kept = torch.where(eroded.flatten(1).any(dim=1)[:, None, None], eroded, mask)
    return lab.masked_fill(~kept[:, None], math.nan).flatten(2).nanmedian(dim=2).values


def is_skin_tone(
    lab: Tensor,
    ita: tuple[float, float] = ITA_RANGE,
    a: tuple[float, float] = A_RANGE,
    b: tuple[float, float] = B_RANGE,
) -> Tensor:
    """Whether a median colour is a human skin tone.

    The default box leaves out greys, and with them the Monk swatches 1 to 4, 9 and 10, whose a* is below 3: read the
    share beside that of held-out images, and lower ``a`` for such skins.

    Args:
        lab: Median L*a*b* (B, 3), from `median_skin_colour`.
        ita: Range of the individual typology angle, degrees.
        a: Range of a*.
        b: Range of b*.

    Returns:
        Bool (B,); false for NaN.
    """
    values = torch.stack([typology_angle(lab), lab[:, 1], lab[:, 2]], dim=1)
    low = lab.new_tensor([ita[0], a[0], b[0]])
    high = lab.new_tensor([ita[1], a[1], b[1]])
    return ((values >= low) & (values <= high)).all(dim=1)


def skin_and_orientation(image: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the hand of each image has a human skin tone, and whether its fingers point up (silhouette).

    Args:
        image: Float (B, 3, H, W) in [0, 1].

    Returns:
        Bool (B,) and bool (B,); both false where there is no hand (`holds_hand`).
    """
    lab = srgb_to_lab(image)
    mask = _foreground_of_lab(lab)
    return is_skin_tone(_median_of_lab(lab, mask)) & holds_hand(mask), fingers_up_from_mask(mask)


def holds_hand(mask: Tensor) -> Tensor:
    """Whether a mask is neither nearly empty (below 4% of the image) nor nearly full (above 90%).

    Args:
        mask: Bool (B, H, W).

    Returns:
        Bool (B,).
    """
    area = mask.flatten(1).float().mean(dim=1)
    return (area >= _LEAST_AREA) & (area <= _LARGEST_AREA)


def fingers_up_from_keypoints(keypoints: Tensor) -> Tensor:
    """Whether the fingers point up: wrist to middle-finger knuckle within 45 degrees of vertical.

    Args:
        keypoints: (B, 21, 2) as (x, y) in [-1, 1], y down; 0 is the wrist, 9 the middle finger's MCP joint.

    Returns:
        Bool (B,).
    """
    palm = keypoints[:, 9] - keypoints[:, 0]
    return -palm[:, 1] > palm[:, 0].abs()


def fingers_up_from_mask(mask: Tensor) -> Tensor:
    """Whether the fingers point up, from the silhouette alone.

    Lines across the fingers cross the hand several times, lines across palm and wrist once; and the wrist,
    not the fingers, runs out of the picture. Both cues are added for each of the four sides; up has to win.

    Args:
        mask: Bool (B, H, W), true on the hand.

    Returns:
        Bool (B,); false where the mask holds no hand (`holds_hand`) and where no side wins.
    """
    rows, columns = _crossings(mask), _crossings(mask.transpose(1, 2))
    top, bottom = _half_means(rows)
    left, right = _half_means(columns)
    edges = torch.stack([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], dim=1).float().mean(dim=2)
    wrist = torch.stack([edges[:, 1], edges[:, 0], edges[:, 3], edges[:, 2]], dim=1)
    fingers = torch.stack([top - bottom, bottom - top, left - right, right - left], dim=1)
    score = fingers + 2 * (wrist - edges)
    return (score.argmax(dim=1) == 0) & (score[:, 0] > 0.1) & holds_hand(mask)


def _crossings(mask: Tensor) -> Tensor:
    """Number of separate runs of true in each row: (B, H, W) -> (B, H)."""
    starts = mask.clone()
    starts[:, :, 1:] &= ~mask[:, :, :-1]
    return starts.sum(dim=2)


def _half_means(runs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean number of runs in the first and second half of the lines that hold any: (B, H) -> (B,), (B,)."""
    position = torch.arange(runs.shape[1], device=runs.device).expand_as(runs)
    used = runs > 0
    first = torch.where(used, position, runs.shape[1]).min(dim=1, keepdim=True).values
    last = torch.where(used, position, -1).max(dim=1, keepdim=True).values
    near = used & (2 * position <= first + last)
    far = used & ~near
    values = runs.float()
    return (
        (values * near).sum(dim=1) / near.sum(dim=1).clamp_min(1),
        (values * far).sum(dim=1) / far.sum(dim=1).clamp_min(1),
    )
