"""Soft actor-critic beside a second objective on the same encoder: what SAC+AE and its keypoint kin share."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from handgen.sac import SAC

Batch = dict[str, Any]


class AuxiliarySAC(SAC):
    """SAC and a second loss with an Adam of its own, one step of each in every update.

    Two Adams on one encoder are not one Adam on the sum: each divides by the size of its own gradients, so that a
    reconstruction moves the encoder as far as the critics do however small its error is. That is what the published
    agents do, and why this class optimises by hand. The second step goes past Lightning's counter:
    ``global_step`` counts updates here as everywhere.

    Subclasses give `second_objective` and `second_groups`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update on a batch of transitions: SAC, its targets, then the second objective.

        Returns:
            The sum of both losses, without gradient, for callbacks.
        """
        agent, auxiliary = cast(list[LightningOptimizer], self.optimizers())
        update = self.global_step
        loss = super().training_step(batch, batch_idx)
        agent.zero_grad()
        self.manual_backward(loss)
        logs = self.logs_now
        agent.step()
        self.follow(update)
        terms = self.second_objective(batch, update)
        second = torch.stack(list(terms.values())).sum()
        auxiliary.zero_grad()
        self.manual_backward(second)
        auxiliary.optimizer.step()  # not auxiliary.step(), which would count as an update
        if logs:
            self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})
        return loss.detach() + second.detach()

    def second_objective(self, batch: Batch, update: int) -> dict[str, Tensor]:
        """Terms of the second objective, by name.

        Args:
            batch: transitions.
            update: updates before this one.
        """
        raise NotImplementedError

    def second_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of its optimiser."""
        raise NotImplementedError

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:  # type: ignore[override]
        """Adam for SAC, Adam for the second objective."""
        return [
            torch.optim.Adam(self.parameter_groups(), fused=True),
            torch.optim.Adam(self.second_groups(), fused=True),
        ]
