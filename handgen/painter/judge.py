"""Who grades paintings: a classifier of real pictures, which rewards nobody."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.anatomy.metrics.distribution import kernel_distance
from handgen.anatomy.metrics.rates import Estimate, share

SURE = 0.9
"""Probability of a class from which a classifier is confident."""
FEATURES = 128


class Classifier(nn.Module):
    """Three strided convolutions, 128 features, and a linear layer, on grey or colour pictures.

    Args:
        classes: number of classes.
        image_size: height and width in pixels, a multiple of 8.
        channels: of the pictures.
    """

    def __init__(self, classes: int, image_size: int = 32, channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming = channels
        for outgoing in (24, 48, 96):
            layers += [nn.Conv2d(incoming, outgoing, 3, 2, 1), nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True)]
            incoming = outgoing
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.hidden = nn.Linear(incoming * (image_size // 8) ** 2, FEATURES)
        self.out = nn.Linear(FEATURES, classes)

    def features(self, image: Tensor) -> Tensor:
        """(B, 128) of pictures (B, C, H, W) in [0, 1]."""
        return F.relu(self.hidden(self.body(1.0 - image)))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes) of pictures (B, C, H, W) in [0, 1]."""
        logits: Tensor = self.out(self.features(image))
        return logits


def train_classifier(
    images: Tensor, labels: Tensor, classes: int, seed: int = 0, updates: int = 1500, batch_size: int = 128
) -> Classifier:
    """A classifier of pictures that are turned, stretched and shifted a little; a minute on a CPU core.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: number of classes.
        seed: of weights, order and warps.
        updates: of Adam, its rate falling to 0.
        batch_size: pictures of an update.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(classes, images.shape[-1], images.shape[1]).to(images.device)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        for _ in range(updates):
            rows = torch.randint(len(images), (batch_size,), device=images.device)
            warped = warp(images[rows].float() / 255)
            loss = F.cross_entropy(model(warped), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def warp(image: Tensor) -> Tensor:
    """Pictures (B, C, H, W) under small random affine maps, white beyond the border."""
    count, device = len(image), image.device
    angle = (0.2 * torch.randn(count, device=device)).clamp(-0.4, 0.4)
    zoom = 1.0 + 0.08 * torch.randn(count, 2, device=device)
    slant = 0.1 * torch.randn(count, device=device)
    shift = 0.06 * torch.randn(count, 2, device=device)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([cos * zoom[:, 0], -sin + slant, shift[:, 0], sin, cos * zoom[:, 1], shift[:, 1]], dim=1).view(
        count, 2, 3
    )
    grid = F.affine_grid(rows, list(image.shape), align_corners=False)
    return 1.0 - F.grid_sample(1.0 - image, grid, align_corners=False)


@dataclass(frozen=True)
class Grade:
    """What a classifier thinks of paintings.

    Attributes:
        confident: share whose class it is sure of (probability at least 0.9), with a 95% interval.
        class_entropy: of the shares of classes among these, in nats; log 10 = 2.30 is even over ten classes.
        kid: squared kernel distance of the classifier's features to those of real test pictures.
    """

    confident: Estimate
    class_entropy: float
    kid: Estimate


@torch.no_grad()
def grade(classifier: Classifier, paintings: Tensor, real: Tensor) -> Grade:
    """Grade paintings, float (N, C, H, W) in [0, 1], against real test pictures, uint8 (M, C, H, W)."""
    classifier.eval()
    features = torch.cat([classifier.features(part) for part in paintings.split(256)])
    known = torch.cat([classifier.features(part.float() / 255) for part in real.split(256)])
    sure, chosen = classifier.out(features).softmax(1).max(1)
    scale = known.square().mean().sqrt()  # the kernel is for features of about 1
    counts = torch.bincount(chosen[sure >= SURE], minlength=classifier.out.out_features).double()
    shares = counts / counts.sum().clamp(min=1)
    entropy = float(-(shares * shares.clamp(min=1e-12).log()).sum()) if counts.sum() else math.nan
    return Grade(share(sure >= SURE), entropy, kernel_distance(features / scale, known / scale))
