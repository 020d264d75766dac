"""SAC+AE: which loss reaches which weights, two optimisers in one update, exact resuming."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from toy_agent import make_trainer
from toy_pixels import AGENT, spot_batch, spot_data

from handgen.callbacks.env_steps import EnvSteps
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.pixels.sac_ae import SACAE
from handgen.sac import SAC


def agent(**settings: Any) -> SACAE:
    torch.manual_seed(0)
    return SACAE(**{**AGENT, **settings})


def reached(module: torch.nn.Module) -> set[str]:
    """Parts with a gradient, two levels deep."""
    moved = [name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()]
    return {
        ".".join(name.split(".")[:2]) if name.startswith(("online", "actor")) else name.split(".")[0] for name in moved
    }


def test_the_reconstruction_trains_encoder_trunk_and_decoder() -> None:
    module = agent()
    module.auxiliary_loss(spot_batch())["recon"].backward()
    assert reached(module) == {"online.encoder", "online.trunk", "decoder"}


def test_the_agents_losses_leave_the_decoder_alone_and_the_actor_the_convolutions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SAC, "logs_now", False)
    module, batch = agent(), spot_batch()
    SAC.training_step(module, batch, 0).backward()
    everything = {"online.encoder", "online.trunk", "online.critics", "actor.trunk", "actor.net", "temperature"}
    assert reached(module) == everything
    module.zero_grad()
    shared = module.online.encoder(batch["obs"])
    features = module.online.trunk(shared)
    terms = module.policy_losses(shared.detach(), features.detach(), module.temperature.value)
    terms["actor"].backward()
    assert reached(module) == {"actor.trunk", "actor.net"}


def run(folder: Path, epochs: int, checkpoint: Path | None = None, **settings: Any) -> tuple[SACAE, dict[str, Any]]:
    module, source = agent(**settings), spot_data()
    saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=7, save_top_k=-1)
    callbacks = [TorchRandomState(), EnvSteps(), saver]
    trainer = make_trainer(folder, max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks)
    trainer.fit(module, source, ckpt_path=checkpoint, weights_only=True)
    assert trainer.global_step == source.updates == epochs * 10  # 30 environment steps are ten decisions
    return module, {**module.state_dict(), **source.replay.columns}


def test_an_update_steps_both_optimisers_and_counts_once(tmp_path: Path) -> None:
    before = agent().state_dict()
    module, after = run(tmp_path, 1)
    for part in (
        "online.encoder",
        "online.trunk",
        "actor.trunk",
        "actor.net",
        "decoder",
        "target.encoder",
        "temperature",
    ):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], after[name]) for name in names), part
    assert [len(optimiser.param_groups) for optimiser in module.configure_optimizers()] == [3, 2]


def test_reconstruction_may_come_less_often(tmp_path: Path) -> None:
    module, _ = run(tmp_path, 1, reconstruct_every_updates=100)
    auxiliary = module.optimizers()[1].optimizer
    (steps,) = {int(state["step"]) for state in auxiliary.state.values()}
    assert steps == 1  # at the first update alone


def test_resuming_is_exact(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2)[1]
    resumed = run(tmp_path / "resumed", 2, tmp_path / "whole" / "step=7.ckpt")[1]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_pictures_of_the_reconstruction() -> None:
    images = agent().reconstruct(spot_batch()["obs"])
    assert images.shape == (8, 6, 16, 16)
    assert 0.0 <= images.min() <= images.max() <= 1.0
