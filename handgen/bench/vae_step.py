"""One training step of the VAE: a plain PyTorch loop against the LightningModule under its Trainer.

Both train the same network with the same losses, optimiser, schedule and moving average on the same batches.
Runs alternate in one process, and medians are compared, so that a busy machine slows both. Starting the
Trainer is left
out: the clock runs from the end of the first step, which also warms up, to the end of the last.
"""

import logging
import math
import time
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from handgen.bench._sides import compared, seconds_of_training
from handgen.precision import autocast
from handgen.results import Record
from handgen.vae import VAE
from handgen.vae.losses import linear_warmup
from handgen.vae.module import cosine
from handgen.vae.networks import update_average


class Batches(torch.utils.data.IterableDataset[dict[str, Tensor]]):
    """The same ready-made batches again and again, so that no data loading is measured.

    Args:
        images: float (N, B, 3, H, W): N batches.
        steps: batches in an epoch.
    """

    def __init__(self, images: Tensor, steps: int) -> None:
        self.images = images
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(self.steps):
            yield {"image": self.images[step % len(self.images)]}


def seconds_in_lightning(module: VAE, data: Batches) -> float:
    """Seconds of all steps but the first under a Trainer."""
    return seconds_of_training(module, DataLoader(data, batch_size=None))


def seconds_in_a_loop(module: VAE, data: Batches) -> float:
    """Seconds of all steps but the first in a plain loop."""
    settings, first = module.hparams, math.nan
    networks = module.networks.train()
    optimiser = torch.optim.Adam(networks.parameters(), lr=settings["lr"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda n: linear_warmup(n, settings["lr_warmup_steps"]) * cosine(n / data.steps)
    )
    for step, batch in enumerate(DataLoader(data, batch_size=None)):
        image = module.layout(batch["image"])
        with autocast(module.device, settings["compute"]):
            recon, mu, log_var = networks(image)
        loss = module.objective(recon, image, mu, log_var, step)["total"]
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        update_average(module.average, networks, min(settings["ema_decay"], (1 + step) / (10 + step)))
        if step == 0:
            first = time.perf_counter()
    return time.perf_counter() - first


def measure(
    runs: int = 7, steps: int = 13, batch_size: int = 64, image_size: int = 64, width: int = 32
) -> list[Record]:
    """Measure both loops in turn.

    Args:
        runs: Runs of each.
        steps: Steps of a run, the first of which is not timed.
        batch_size: Images in a step.
        image_size: Side in pixels.
        width: Of the network.

    Returns:
        ``vae_step/ours`` and ``vae_step/reference`` (images/s, medians) and ``vae_step/ratio`` (the median of
        the ratios of neighbouring runs; above 1 ours is faster), with the extremes of the runs as ``low`` and
        ``high``.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    generator = torch.Generator().manual_seed(0)
    data = Batches(torch.rand(4, batch_size, 3, image_size, image_size, generator=generator), steps)
    torch.manual_seed(0)
    module = VAE(image_size=image_size, width=width)
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(runs):
            for name, timed in (("ours", seconds_in_lightning), ("reference", seconds_in_a_loop)):
                rates[name].append((steps - 1) * batch_size / timed(module, data))
    unit = f"images/s, batch {batch_size}, {image_size} px, {torch.get_num_threads()} threads"
    return compared("vae_step", unit, rates["ours"], rates["reference"], "synthetic")
