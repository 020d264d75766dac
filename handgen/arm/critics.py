"""Critics that are shown what an action would look like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.arm.geometry import joints_of, soft_silhouette
from handgen.sac.networks import EnsembleLinear

WIDTHS = (16, 32)
HIDDEN = 128


class TargetMask(nn.Module):
    """What the critics need of an observation: the target's mask, made small.

    Args:
        size: height and width h of the small mask.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.feature_dim = size, size * size

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 2, H, H) in [-0.5, 0.5], the target first, to (B, h * h) in [0, 1]."""
        return F.adaptive_avg_pool2d(image[:, :1] + 0.5, self.size).flatten(1)


class LookingCritics(nn.Module):
    """C values of targets and poses, from the target, the pose's own silhouette and where they differ.

    A critic of plain angles would have to learn the arm's kinematics and its camera before its slope says anything;
    those are known. The slope of a value then reaches the action through the arm's geometry.

    Args:
        measured: `handgen.arm.geometry.as_tensors` of the arm.
        members: C.
        size: height and width h of the masks, a multiple of 4.
        softness: width of the silhouette's edge.
    """

    def __init__(self, measured: dict[str, Tensor], members: int = 2, size: int = 28, softness: float = 0.03) -> None:
        super().__init__()
        self.members, self.size, self.softness = members, size, softness
        for name, value in measured.items():
            self.register_buffer(f"measured_{name}", value.clone(), persistent=False)
        self.names = list(measured)
        first, second = WIDTHS
        self.first = nn.Conv2d(3 * members, first * members, 3, stride=2, padding=1, groups=members)
        self.second = nn.Conv2d(first * members, second * members, 3, stride=2, padding=1, groups=members)
        self.hidden = EnsembleLinear(members, second * (size // 4) ** 2, HIDDEN)
        self.value = EnsembleLinear(members, HIDDEN, 1)

    def forward(self, features: Tensor, action: Tensor, frozen: bool = False) -> Tensor:
        """Values of B pairs.

        Args:
            features: (B, h * h), target masks in [0, 1].
            action: (B, 12) in [-1, 1].
            frozen: give no gradient to the weights, only to the action.

        Returns:
            (C, B).
        """
        measured = {name: getattr(self, f"measured_{name}") for name in self.names}
        pose = soft_silhouette(measured, joints_of(action), self.size, self.softness)
        target = features.view(-1, self.size, self.size)
        x = torch.stack([target, pose, (target - pose).abs()], dim=1).repeat(1, self.members, 1, 1)
        for layer in (self.first, self.second):
            weight, bias = layer.weight, layer.bias
            assert bias is not None
            weight, bias = (weight.detach(), bias.detach()) if frozen else (weight, bias)
            x = F.conv2d(x, weight, bias, stride=2, padding=1, groups=self.members).relu()
        x = x.view(len(x), self.members, -1).transpose(0, 1)
        q: Tensor = self.value(self.hidden(x, frozen).relu(), frozen)
        return q.squeeze(-1)
