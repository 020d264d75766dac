"""An agent that begins again with the experience that it has: new weights for what decides, old ones for what sees."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from handgen.random_state import seeded
from handgen.sac.networks import Actor, ValueNetworks


class FreshStarts(LightningModule):
    """The part of :class:`handgen.sac.SAC` that starts anew (Nikishin et al. 2022, arXiv:2205.07802)."""

    actor: Actor
    online: ValueNetworks
    target: ValueNetworks
    mean_actor: Actor | None
    env_steps: Tensor
    seed: int
    averaged_updates: int

    def _starts_anew(self, env_steps: int) -> bool:
        """Note how many environment steps there are; whether they have passed one of ``resets_env_steps``."""
        resets = self.hparams["resets_env_steps"]
        before = int(self.env_steps) if resets else 0  # reading it waits for a GPU
        self.env_steps.fill_(env_steps)
        return any(before <= steps < env_steps for steps in resets)

    @torch.no_grad()
    def start_anew(self) -> None:
        """Draw new weights for actor and critics and forget their optimiser's moments; encoders and temperature stay.

        All processes of a run draw the same weights.
        """
        with seeded(self.seed + int(self.env_steps), self.device):
            self.draw_weights()
        copies = [(self.target.critics, self.online.critics), (self.target.value, self.online.value)]
        self.averaged_updates = 0
        for copied, original in (*copies, (self.mean_actor, self.actor)):
            if copied is not None and original is not None:
                copied.load_state_dict(original.state_dict())
        optimisers: Any = self.optimizers()
        optimiser = optimisers[0] if isinstance(optimisers, list) else optimisers  # the first is SAC's
        for part in self.heads:
            for parameter in part.parameters():
                optimiser.state.pop(parameter, None)

    @property
    def heads(self) -> list[nn.Module]:
        """What follows the encoders: of the actor, of the critics, and of the value where there is one."""
        return [self.actor.net, self.online.critics, *([self.online.value] if self.online.value is not None else [])]

    def draw_weights(self) -> None:
        """Draw the weights of the heads."""
        for layer in (layer for part in self.heads for layer in part.modules()):
            getattr(layer, "reset_parameters", lambda: None)()
