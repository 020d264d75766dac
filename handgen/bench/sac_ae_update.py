"""One update of SAC+AE: our module under its Trainer against a plain statement of the published one, updates a second.

Both have the published networks, batches of stacks, delays and rates, in float32; ours a second time with convolutions
in bfloat16, as agents train by default where the processor multiplies it. The reference does what the published code
does, in its order and with its optimisers (Yarats et al. 2021, arXiv:1910.01741): separate passes through the
convolutions for critics, actor and autoencoder, images channel by channel, one critic after the other, target weights
one tensor at a time. Batches are ready-made; acting and replay are left out. Each run has a process of its own, as ours
keeps freed memory (`handgen.memory`) and the reference leaves that to the C library, as the published code does. Runs
alternate, and medians are compared.
"""

from __future__ import annotations

import copy
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.bench._sides import compared, in_a_process, seconds_of_training
from handgen.memory import keep_freed_memory
from handgen.pixels.autoencoder import PUBLISHED_STRIDES, ConvEncoder, Decoder, LatentTrunk
from handgen.pixels.module import PixelSAC
from handgen.precision import Compute, multiplies_bfloat16
from handgen.results import Record
from handgen.sac.networks import Actor, mlp

Batch = dict[str, Any]
SETTINGS: dict[str, Any] = {
    "lr": 1e-3,
    "temperature_lr": 1e-4,
    "temperature_beta1": 0.5,
    "initial_temperature": 0.1,
    "log_std_bounds": (-10.0, 2.0),
    "tau": 0.01,
    "encoder_tau": 0.05,
    "actor_every_updates": 2,
    "target_every_updates": 2,
}


class PlainEncoder(nn.Module):
    """The published convolutions, channel by channel as torch has them by default."""

    def __init__(self, encoder: ConvEncoder) -> None:
        super().__init__()
        self.layers = encoder.layers.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, obs: Tensor) -> Tensor:
        """Stacks uint8 (B, 9, H, W) to features (B, F)."""
        features: Tensor = self.layers(obs.float() / 255.0).flatten(1)
        return features


class PlainDecoder(nn.Module):
    """The published decoder, in the same way."""

    def __init__(self, encoder: ConvEncoder) -> None:
        super().__init__()
        decoder = Decoder(encoder, 9, 50, PUBLISHED_STRIDES)
        self.linear, self.map_shape = decoder.linear, decoder.map_shape
        self.layers = decoder.layers.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, latent: Tensor) -> Tensor:
        """(B, 50) to stacks (B, 9, H, W)."""
        stacks: Tensor = self.layers(torch.relu(self.linear(latent)).unflatten(1, self.map_shape))
        return stacks


class PlainSACAE(nn.Module):
    """The published update, written as plainly as it can be.

    Args:
        image_size: height and width of a frame.
        hidden: units of both hidden layers.
    """

    def __init__(self, image_size: int, hidden: int) -> None:
        super().__init__()
        convolutions = ConvEncoder(9, image_size)
        self.encoder, size = PlainEncoder(convolutions), convolutions.feature_dim
        self.critic = nn.ModuleDict(
            {"trunk": LatentTrunk(size), "q1": mlp([51, hidden, hidden, 1]), "q2": mlp([51, hidden, hidden, 1])}
        )
        self.actor = Actor(50, 1, (hidden, hidden), SETTINGS["log_std_bounds"], LatentTrunk(size))
        self.decoder = PlainDecoder(convolutions)
        self.target_encoder, self.target_critic = copy.deepcopy(self.encoder), copy.deepcopy(self.critic)
        self.log_alpha = nn.Parameter(torch.tensor(SETTINGS["initial_temperature"]).log())
        lr, shared = SETTINGS["lr"], list(self.encoder.parameters())
        trunk = list(self.critic["trunk"].parameters())
        self.critic_optimiser = torch.optim.Adam([*shared, *self.critic.parameters()], lr=lr)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=lr)
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], lr=SETTINGS["temperature_lr"], betas=(0.5, 0.999))
        self.encoder_optimiser = torch.optim.Adam([*shared, *trunk], lr=lr)
        self.decoder_optimiser = torch.optim.Adam(self.decoder.parameters(), lr=lr, weight_decay=1e-7)

    @staticmethod
    def values(critic: nn.ModuleDict, features: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Both values (B,) of features (B, F) and actions (B, A)."""
        pair = torch.cat([critic["trunk"](features), action], dim=1)
        return critic["q1"](pair)[:, 0], critic["q2"](pair)[:, 0]

    def update(self, batch: Batch, step: int) -> None:
        """One update, in the published order."""
        obs, next_obs, alpha = batch["obs"], batch["next_obs"], self.log_alpha.exp().detach()
        with torch.no_grad():
            action, log_prob = self.actor.sample(self.encoder(next_obs))
            value = torch.minimum(*self.values(self.target_critic, self.target_encoder(next_obs), action))
            target = batch["reward"][:, 0] + 0.99 * (value - alpha * log_prob)
        q1, q2 = self.values(self.critic, self.encoder(obs), batch["action"])
        _step(self.critic_optimiser, loss=F.mse_loss(q1, target) + F.mse_loss(q2, target))
        if step % 2 == 0:
            action, log_prob = self.actor.sample(self.encoder(obs).detach())
            q = torch.minimum(*self.values(self.critic, self.encoder(obs).detach(), action))
            _step(self.actor_optimiser, loss=(alpha * log_prob - q).mean())
            _step(self.alpha_optimiser, loss=(self.log_alpha.exp() * (1.0 - log_prob.detach())).mean())
            self._follow(self.target_encoder, self.encoder, SETTINGS["encoder_tau"])
            self._follow(self.target_critic["trunk"], self.critic["trunk"], SETTINGS["encoder_tau"])
            for name in ("q1", "q2"):
                self._follow(self.target_critic[name], self.critic[name], SETTINGS["tau"])
        latent = self.critic["trunk"](self.encoder(obs))
        wanted = torch.floor(obs.float() / 8.0) / 32.0
        wanted = wanted + torch.rand_like(wanted) / 32.0 - 0.5
        loss = F.mse_loss(self.decoder(latent), wanted) + 1e-6 * (0.5 * latent.square().sum(1)).mean()
        _step(self.encoder_optimiser, self.decoder_optimiser, loss=loss)

    @staticmethod
    @torch.no_grad()
    def _follow(target: nn.Module, source: nn.Module, tau: float) -> None:
        """Polyak average, one tensor at a time."""
        for kept, new in zip(target.parameters(), source.parameters(), strict=True):
            kept.copy_(tau * new + (1.0 - tau) * kept)


def _step(*optimisers: torch.optim.Optimizer, loss: Tensor) -> None:
    """Backward pass and step."""
    for optimiser in optimisers:
        optimiser.zero_grad()
    torch.autograd.backward(loss)
    for optimiser in optimisers:
        optimiser.step()


class Ready:
    """The same ready-made batch again and again.

    Args:
        batch: transitions.
        count: batches of an epoch.
    """

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        """Yield them."""
        return (self.batch for _ in range(self.count))


def transitions(batch_size: int, image_size: int) -> Batch:
    """Random transitions, uint8 stacks of three frames."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, batch_size, 9, image_size, image_size)
    obs, next_obs = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return {
        "obs": obs,
        "next_obs": next_obs,
        "action": torch.rand(batch_size, 1, generator=generator) * 2.0 - 1.0,
        "reward": torch.rand(batch_size, 1, generator=generator),
        "counted": torch.ones(batch_size, 1, dtype=torch.bool),
        "terminated": torch.zeros(batch_size, dtype=torch.bool),
        "env_steps": 0,
    }


def seconds_of_ours(batch: Batch, updates: int, image_size: int, hidden: int, compute: Compute) -> float:
    """Seconds of all updates but the first two."""
    module = PixelSAC(action_dim=1, image_size=image_size, hidden_dims=(hidden, hidden), compute=compute, **SETTINGS)
    return seconds_of_training(module, Ready(batch, updates + 2), skip=1)


def seconds_of_reference(batch: Batch, updates: int, image_size: int, hidden: int) -> float:
    """The same of the plain update."""
    agent = PlainSACAE(image_size, hidden)
    for step in range(2):
        agent.update(batch, step)
    start = time.perf_counter()
    for step in range(updates):
        agent.update(batch, step)
    return time.perf_counter() - start


def seconds_of(kind: str, updates: int, batch_size: int, image_size: int, hidden: int) -> float:
    """Seconds of one side: ``float32`` or ``bfloat16`` (ours) or ``reference``."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    batch = transitions(batch_size, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "reference":
            return seconds_of_reference(batch, updates, image_size, hidden)
        return seconds_of_ours(batch, updates, image_size, hidden, cast(Compute, kind))


def measure(
    runs: int = 5,
    updates: int = 4,
    batch_size: int = 128,
    image_size: int = 84,
    hidden: int = 1024,
    own_processes: bool = True,
) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: runs of each.
        updates: updates timed in a run, an even number: the actor learns in every other one.
        batch_size: transitions in a batch.
        image_size: height and width of a frame.
        hidden: units of both hidden layers.
        own_processes: whether each run has one; tests do without.

    Returns:
        ``sac_ae_update/ours`` and ``sac_ae_update/reference`` (updates/s, medians) and ``sac_ae_update/ratio`` (the
        median of the ratios of neighbouring runs), with the extremes of the runs as ``low`` and ``high``; where the
        processor multiplies bfloat16, the same again with ours in it.
    """
    kinds = {"float32": ""}
    if multiplies_bfloat16(torch.device("cpu")):
        kinds["bfloat16"] = ", ours with bfloat16 convolutions"
    seconds: dict[str, list[float]] = {name: [] for name in (*kinds, "reference")}
    sizes = (updates, batch_size, image_size, hidden)
    for _ in range(runs):
        for kind, taken in seconds.items():
            if own_processes:
                taken.append(in_a_process(__name__, kind, torch.get_num_threads(), *sizes))
            else:
                taken.append(seconds_of(kind, *sizes))
    unit = f"updates/s, batch {batch_size}, {image_size} px, {torch.get_num_threads()} threads"
    rates = {kind: [updates / taken for taken in times] for kind, times in seconds.items()}
    return [
        record
        for kind, suffix in kinds.items()
        for record in compared("sac_ae_update", unit + suffix, rates[kind], rates["reference"], "stacks")
    ]


if __name__ == "__main__":
    if sys.argv[1] != "reference":
        keep_freed_memory()
    torch.set_num_threads(int(sys.argv[2]))
    print(seconds_of(sys.argv[1], *map(int, sys.argv[3:])))
