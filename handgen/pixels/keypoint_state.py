"""From keypoints of single frames to the state of an agent: where the points are, how they move, what was done."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_ERROR = 0.1
"""In [-1, 1] units: a point that jumps farther, as where its part is hidden, tells nothing about precision."""
SMALLEST_ERROR = 1e-3
"""A point that never errs would be infinitely reliable, even if it never moves."""
SMALLEST_CHANGE = 1e-2
"""The same of a number of a latent."""


class KeypointState(nn.Module):
    """Points of the newest frame, differences between frames and the actions between them, as one vector.

    ``[p_t, c (p_t - p_(t-1)), c (p_(t-1) - p_(t-2)), ..., a_(t-1), a_(t-2), ...]``: a point belongs to an instant, and
    its motion is said outright instead of being left to the network (FPAC, Boney et al. 2021, arXiv:2106.07995; FLARE,
    Shang et al. 2021, arXiv:2101.01857). A difference is the mean velocity over a decision, half a decision old; the
    action of that decision tells what it has become since.

    Args:
        frame_stack: frames T in an observation.
        description_dim: numbers D that describe a frame.
        action_dim: numbers A of an action; 0 leaves the actions out.
        motion_scale: c, which brings differences to about the size of the points.
        still_dim: of the D numbers, those at the end that are told of the newest frame alone, without differences.
    """

    def __init__(
        self,
        frame_stack: int,
        description_dim: int,
        action_dim: int = 0,
        motion_scale: float = 3.0,
        still_dim: int = 0,
    ) -> None:
        super().__init__()
        self.description_dim, self.action_dim, self.motion_scale = description_dim, action_dim, motion_scale
        self.moving_dim = description_dim - still_dim
        self.feature_dim = description_dim + (frame_stack - 1) * (self.moving_dim + action_dim)

    def forward(self, known: Tensor) -> Tensor:
        """What is known of each frame (B, T, D + A), newest last, to features (B, T D + (T - 1) A), less what is still.

        Args:
            known: descriptions (B, T, D), and beside each the action that led to the frame (A), 0 for an episode's
                first; that of the oldest frame is not looked at.
        """
        newest_first = known.flip(1)
        points, actions = (
            newest_first[..., : self.description_dim],
            newest_first[:, :-1, self.description_dim : self.description_dim + self.action_dim],
        )
        moving = points[..., : self.moving_dim]
        motion = self.motion_scale * (moving[:, :-1] - moving[:, 1:])
        return torch.cat([points[:, 0], motion.flatten(1), actions.flatten(1)], dim=1)


def reliable_directions(points: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Directions in the space of all coordinates along which points say more about the scene than about their errors.

    Eight points on a cart-pole have sixteen coordinates, but the scene moves in two dimensions, and a point in the
    middle of a pole slides along it from frame to frame. The directions maximise the ratio of the variance of the
    points to that of their errors, one after the other: the transform of Green et al. 1988 (maximum noise fraction,
    IEEE Transactions on Geoscience and Remote Sensing 26), a generalised eigenvalue problem.

    Args:
        points: (N, D) coordinates found in frames.
        errors: (..., D) differences between points that ought to be the same.

    Returns:
        (D, D), whose columns map coordinates less their mean to unit variance, the most reliable first, and the ratios
        of standard deviations (D,).
    """
    deviations = errors.flatten(0, -2).double().clamp(-LARGEST_ERROR, LARGEST_ERROR)
    return _directions(points, deviations, SMALLEST_ERROR)


def slow_directions(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Directions in the space of a latent along which it changes slowly from frame to frame.

    An autoencoder that nothing tells which scenes are neighbours may give neighbours quite different latents, and tell
    where things are by numbers that jump. Linear slow feature analysis (Wiskott and Sejnowski 2002, Neural Computation
    14) finds what does not jump: the eigenvalue problem of `reliable_directions`, with the change from a frame to the
    next in the place of errors.

    Args:
        latents: (N, L) of frames in the order in which they came; where an episode ends is a jump like any other, which
            makes all look quicker than it is.

    Returns:
        (L, L), whose columns map latents less their mean to unit variance, the slowest first, and the ratios of
        standard deviations, of latents to changes (L,).
    """
    return _directions(latents, (latents[1:] - latents[:-1]).double(), SMALLEST_CHANGE)


def _directions(found: Tensor, deviations: Tensor, smallest: float) -> tuple[Tensor, Tensor]:
    """Directions (D, D) in which what was found (N, D) varies most relative to deviations (M, D), and the ratios."""
    centred = (found - found.mean(0)).double()
    signal = centred.T @ centred / len(centred)
    noise = deviations.T @ deviations / len(deviations)
    noise += smallest**2 * torch.eye(len(noise), dtype=torch.float64, device=noise.device)
    whiten = torch.linalg.inv(torch.linalg.cholesky(noise))
    ratio, axes = torch.linalg.eigh(whiten @ signal @ whiten.T)
    ratio, axes = ratio.flip(0).clamp(min=0.0), axes.flip(1)
    directions = whiten.T @ axes
    scale = ((signal @ directions) * directions).sum(0).clamp(min=1e-12).sqrt()
    return (directions / scale).to(found.dtype), ratio.sqrt().to(found.dtype)


def shift_images(images: Tensor, right: int, down: int) -> Tensor:
    """Images (N, C, H, W) moved by whole pixels, their borders repeated."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    return images[:, :, rows][..., columns]
