"""Soft actor-critic beside a second objective on the same encoder: what SAC+AE and its keypoint kin share."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from handgen.errors import UserError
from handgen.sac import SAC
from handgen.sac.module import total

Batch = dict[str, Any]


class AuxiliarySAC(SAC):
    """SAC and a second loss with an Adam of its own, one step of each in every update.

    Two Adams on one encoder are not one Adam on the sum: each divides by the size of its own gradients, so that a
    reconstruction moves the encoder as far as the critics do however small its error is. That is what the published
    agents do, and why this class optimises by hand. The second step goes past Lightning's counter:
    ``global_step`` counts updates here as everywhere.

    Subclasses give `second_objective` and `second_groups`.

    Args:
        args: those of :class:`handgen.sac.SAC`.
        critics_first: step the critics before the actor looks at them, as published, at the price of further passes
            through the encoder.
        kwargs: those of :class:`handgen.sac.SAC`.
    """

    def __init__(self, *args: Any, critics_first: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.critics_first = critics_first
        self.automatic_optimization = False

    def on_fit_start(self) -> None:
        """Refuse a number format whose gradients are scaled, which the step past Lightning would not undo.

        Raises:
            UserError: for ``trainer.precision: 16-mixed``.
        """
        if self.trainer.precision == "16-mixed":
            raise UserError(
                "an agent with a second objective scales no gradients: --trainer.precision=bf16-mixed or 32"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update on a batch of transitions: SAC, its targets, then the second objective.

        Returns:
            The sum of both losses, without gradient, for callbacks.
        """
        agent, auxiliary = cast(list[LightningOptimizer], self.optimizers())
        update, logs = self.global_step, self.logs_now
        loss = self._critics_then_actor(batch, agent) if self.critics_first else super().training_step(batch, batch_idx)
        turn = self.turn
        agent.zero_grad()
        if loss.requires_grad:
            self.manual_backward(loss)
        agent.step()
        self.follow(turn)
        terms = self.second_objective(batch, update)
        second = total(terms)
        auxiliary.zero_grad()
        self.manual_backward(second)
        auxiliary.optimizer.step()  # not auxiliary.step(), which would count as an update
        if logs:
            self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})
        return loss.detach() + second.detach()

    def _critics_then_actor(self, batch: Batch, agent: LightningOptimizer) -> Tensor:
        """Step the critics; then the loss, with a gradient for actor and temperature by the critics as they now are.

        Args:
            batch: transitions.
            agent: SAC's optimiser.
        """
        self.begin_update(batch)
        temperature = self.temperature.value
        terms, _, _ = self.critic_losses(batch, temperature)
        agent.zero_grad()
        self.manual_backward(total(terms))
        agent.optimizer.step()  # not agent.step(): critics and actor are one update
        if self.moves_actor:
            with torch.no_grad():
                shared = self.online.encoder(batch["obs"])
                features = self.online.trunk(shared)
            terms |= self.policy_losses(shared, features, temperature)
        self.log_terms(terms)
        terms["critic"] = terms["critic"].detach()
        return torch.stack(list(terms.values())).sum()

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
