"""Every tensor of the painter is made where its inputs are, as a GPU needs it.

Tensors that are made without a device are made on ``meta`` here, where nothing can be computed with them: what would
mix a GPU's tensors with the CPU's fails.
"""

from typing import Any

import pytest
import torch

from handgen.painter import evaluation
from handgen.painter.advantages import advantages, policy_loss
from handgen.painter.fit import paint_strokes
from handgen.painter.module import Painter
from handgen.painter.rollout import paint_program
from handgen.painter.shifts import shifted_pictures

TINY: dict[str, Any] = {"image_size": 16, "length": 2, "strokes": 1, "width": 16, "discriminator_width": 4}


@pytest.mark.parametrize(
    "settings",
    [
        {"table": "fast_grey", "adversary": "spectral", "joint": True},
        {"table": "compound", "channels": 3, "conditional": True, "complement": True, "instance_noise": 0.1},
        {"table": "paper", "channels": 3, "conditional": True, "policy_size": "paper"},
        {"table": "free_grey", "conditional": True, "reward": "l2", "algorithm": "a2c", "most_strokes": 2},
    ],
    ids=lambda settings: str(settings["table"]),
)
def test_the_parts_of_training_and_evaluation_stay_on_their_device(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    module = Painter(**{**TINY, **settings})
    image = torch.rand(4, module.hparams["channels"], 16, 16)
    target, moved = image if module.hparams["conditional"] else None, torch.tensor([[1, 0]]).expand(4, -1)
    with torch.device("meta"):
        rollout = module.paint(module.world(), 4, target)
        reward, _ = module.rewards(rollout)
        advantage, _ = advantages(module.policy, rollout, reward, module.hparams)
        decided = module.policy(rollout.seen(), actions=rollout.actions)
        policy_loss(decided, rollout.log_prob, advantage, module.hparams).backward()
        programs = module.programs(shifted_pictures(image, moved))
        module.program_nll(paint_program(module.world(), programs, target=target)).mean().backward()
        paint_strokes(module.stroke_net(image), 16, module.hparams["channels"]).sum().backward()
        painted = evaluation.paint_many(module, 4, target, module.policy)
        if not module.hparams["joint"]:
            evaluation.search_many(module, 1, target, module.policy)
    assert {t.device.type for t in (reward, programs, painted.finished, painted.actions)} == {"cpu"}
