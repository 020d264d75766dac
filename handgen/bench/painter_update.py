"""One adversarial update of the painter: a plain PyTorch loop against the LightningModule under its Trainer.

Both paint a batch of pictures, show the discriminator real pictures and paintings of the last batches, and improve the
policy by what each action changed of the score. Networks, brush and batches are the same; the loop is written as one
would without Lightning. Runs alternate in one process, and medians of neighbouring runs' ratios are taken, so that a
busy machine slows both. The clock runs from the end of the first update, which also warms up, to the end of the last.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.bench._sides import compared, seconds_of_training
from handgen.datamodules.paintings import Paintings
from handgen.datamodules.strokes import load_pictures
from handgen.painter import losses
from handgen.painter.module import Painter
from handgen.painter.policy import NOISE
from handgen.painter.rollout import LEAST_CHANGE, paint_freely
from handgen.painter.world import PaintWorld, TorchEngine
from handgen.results import Record

SIZE, LENGTH, KEPT, PICTURES = 32, 10, 4, 512
LR, DISCRIMINATOR_LR, VALUE_WEIGHT, NOISE_SD, CLIP, TRACE = 1e-5, 5e-4, 0.5, 0.1, 0.2, 0.95


def painter(discriminator_updates: int) -> Painter:
    """A painter that does the work of ``spiral_mnist``, but for imitation, of programs that are not here."""
    torch.manual_seed(0)
    return Painter(
        table="fast_grey",
        image_size=SIZE,
        channels=1,
        length=LENGTH,
        adversary="spectral",
        discriminator_lr=DISCRIMINATOR_LR,
        discriminator_updates=discriminator_updates,
        instance_noise=NOISE_SD,
        rl_lr=LR,
        policy_epochs=1,
        minibatches=1,
        entropy_weight=0.0,
        compute="float32",
    )


def seconds_in_lightning(updates: int, batch_size: int, discriminator_updates: int) -> float:
    """Seconds of all updates but the first under a Trainer."""
    data = Paintings(
        source="digits",
        train_count=PICTURES,
        fit_updates=0,
        distill_updates=0,
        batch_size=batch_size,
        warming_updates=0,
        replay_batches=KEPT,
        epoch_updates=updates,
    )
    return seconds_of_training(painter(discriminator_updates), data)


def seconds_in_a_loop(images: Tensor, updates: int, batch_size: int, discriminator_updates: int) -> float:
    """Seconds of all updates but the first in a plain loop on pictures uint8 (N, 1, H, W)."""
    networks = painter(discriminator_updates)
    policy, discriminator = networks.policy, networks.discriminator
    world = PaintWorld(networks.table, TorchEngine(SIZE, 1))
    policy_optimiser = torch.optim.Adam(policy.parameters(), lr=LR)
    discriminator_optimiser = torch.optim.Adam(discriminator.parameters(), lr=DISCRIMINATOR_LR, betas=(0.5, 0.999))
    kept: deque[Tensor] = deque(maxlen=KEPT)
    mean, sd, first = torch.zeros(()), torch.ones(()), 0.0
    for update in range(updates):
        rollout = paint_freely(policy, world, LENGTH, torch.randn(batch_size, NOISE))
        kept.append((255 * rollout.finished).round().byte())
        for _ in range(discriminator_updates):
            fakes = torch.cat(list(kept))
            fake = fakes[torch.randint(len(fakes), (batch_size,))].float() / 255
            real = images[torch.randint(len(images), (batch_size,))].float() / 255
            loss = losses.logistic_loss(
                discriminator(real + NOISE_SD * torch.randn_like(real)),
                discriminator(fake + NOISE_SD * torch.randn_like(fake)),
            )
            discriminator_optimiser.zero_grad()
            torch.autograd.backward(loss)
            discriminator_optimiser.step()
        discriminator.eval()  # the power iteration of its norms goes on in training only
        with torch.no_grad():
            seen = rollout.canvases + NOISE_SD * torch.randn_like(rollout.canvases[0])
            score = torch.cat([discriminator(part) for part in seen.flatten(0, 1).split(256)]).view(-1, batch_size)
            rate = 0.05 if update else 1.0
            mean, sd = mean.lerp(score[-1].mean(), rate), sd.lerp(score[-1].std(), rate)
            reward = losses.credit((score - mean) / sd)
            reward[-1] -= ((1.0 - rollout.finished).flatten(1).mean(1) <= LEAST_CHANGE).float()
            value = policy(rollout.seen(), actions=rollout.actions).value
            advantage = losses.generalised_advantages(reward, value, 1.0, TRACE)
            returns = advantage + value
            advantage = (advantage - advantage.mean()) / advantage.std()
        discriminator.train()
        decided = policy(rollout.seen(), actions=rollout.actions)
        log_prob = decided.log_prob.sum(-1)
        loss = losses.clipped_policy_loss(log_prob, rollout.log_prob, advantage, CLIP)
        loss = loss + VALUE_WEIGHT * F.mse_loss(decided.value, returns)
        policy_optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        policy_optimiser.step()
        if update == 0:
            first = time.perf_counter()
    return time.perf_counter() - first


def measure(runs: int = 7, updates: int = 9, batch_size: int = 128, discriminator_updates: int = 8) -> list[Record]:
    """Measure both loops in turn.

    Args:
        runs: Runs of each.
        updates: Of a run, the first of which is not timed.
        batch_size: Paintings in an update.
        discriminator_updates: Of the discriminator in an update.

    Returns:
        ``painter_update/ours`` and ``painter_update/reference`` (actions/s, medians) and ``painter_update/ratio``
        (above 1 ours is faster), with the extremes of the runs as ``low`` and ``high``.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    images = load_pictures("digits", SIZE, 1, PICTURES, 0)["train"].images
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    actions = (updates - 1) * batch_size * LENGTH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(runs):
            rates["ours"].append(actions / seconds_in_lightning(updates, batch_size, discriminator_updates))
            rates["reference"].append(actions / seconds_in_a_loop(images, updates, batch_size, discriminator_updates))
    unit = f"actions/s, {batch_size} paintings of {SIZE} x {SIZE}, {torch.get_num_threads()} threads"
    return compared("painter_update", unit, rates["ours"], rates["reference"])
