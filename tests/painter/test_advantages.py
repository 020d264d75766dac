"""What a policy learns from paintings, put together."""

from typing import Any

import pytest
import torch

from handgen.painter.advantages import advantages, policy_loss
from handgen.painter.module import Painter
from handgen.painter.rollout import Rollout

TINY: dict[str, Any] = {"image_size": 16, "length": 3, "strokes": 2, "width": 16, "discriminator_width": 4}


def painted(**settings: Any) -> tuple[Painter, Rollout, torch.Tensor]:
    torch.manual_seed(0)
    module = Painter(**{**TINY, "trace": 1.0, **settings})
    target = torch.rand(6, 1, 16, 16) if settings.get("conditional") else None
    return module, module.paint(module.world(), 6, target), torch.randn(3, 6)


def test_of_a_painter_that_has_not_changed_both_algorithms_are_one() -> None:
    found = []
    for algorithm in ("ppo", "a2c"):
        module, rollout, reward = painted(algorithm=algorithm)
        advantage, returns = advantages(module.policy, rollout, reward, module.hparams)
        decided = module.policy(rollout.seen(), actions=rollout.actions)
        loss = policy_loss(decided, rollout.log_prob, advantage, module.hparams)
        found.append((advantage, returns, *torch.autograd.grad(loss, list(module.policy.decoder.heads.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_paintings_of_a_target_are_compared_with_each_other(algorithm: str) -> None:
    module, rollout, reward = painted(conditional=True, paintings_of_a_target=3, algorithm=algorithm)
    advantage, _ = advantages(module.policy, rollout, reward, module.hparams)
    torch.testing.assert_close(advantage.unflatten(1, (2, 3)).mean(2), torch.zeros(3, 2), atol=1e-5, rtol=0.0)
    assert advantage.std().item() == pytest.approx(1.0, abs=1e-4)
