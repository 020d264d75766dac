"""SAC+AE: which loss reaches which weights, two optimisers in one update, exact resuming."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from toy_agent import make_trainer
from toy_pixels import AGENT, spot_batch, spot_data

from handgen.callbacks.env_steps import EnvSteps
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.errors import UserError
from handgen.pixels.module import PixelSAC, with_images
from handgen.sac import SAC

IMM: dict[str, Any] = {"keypoints": 3, "width": 4, "foreground_weight": 0.0, "equivariance_weight": 0.0}


def agent(**settings: Any) -> PixelSAC:
    torch.manual_seed(0)
    return PixelSAC(**{**AGENT, **settings})


def reached(module: torch.nn.Module) -> set[str]:
    """Parts with a gradient, two levels deep."""
    moved = [name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()]
    return {
        ".".join(name.split(".")[:2]) if name.startswith(("online", "actor")) else name.split(".")[0] for name in moved
    }


def test_the_reconstruction_trains_encoder_trunk_and_decoder() -> None:
    module = agent()
    module.second_objective(with_images(spot_batch()), 0)["autoencoder"].backward()
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


def run(folder: Path, epochs: int, checkpoint: Path | None = None, **settings: Any) -> tuple[PixelSAC, dict[str, Any]]:
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


@pytest.mark.parametrize(
    "settings", [{}, {"imm": IMM}, {"imm": IMM, "autoencoder": False}], ids=["ae", "ae_imm", "imm"]
)
def test_resuming_is_exact(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 2, **settings)[1]
    resumed = run(tmp_path / "resumed", 2, tmp_path / "whole" / "step=7.ckpt", **settings)[1]
    torch.testing.assert_close(resumed, whole, rtol=0.0, atol=0.0, equal_nan=True)  # no background was taken


def test_a_fresh_start_draws_the_heads_anew_and_leaves_what_sees(tmp_path: Path) -> None:
    module = agent(resets_env_steps=[45])
    with_trainer = make_trainer(tmp_path, max_epochs=1)
    before: dict[str, Tensor] = {}
    moved: dict[str, float] = {}
    start_anew = module.start_anew

    def watched() -> None:
        before.update({name: value.clone() for name, value in module.state_dict().items()})
        start_anew()
        moved.update(
            {n: float((v - before[n]).abs().max()) for n, v in module.state_dict().items() if v.is_floating_point()}
        )

    module.start_anew = watched  # type: ignore[method-assign]
    with_trainer.fit(module, spot_data())
    heads = ("actor.net", "online.critics", "target.critics")
    assert {name.rpartition(".")[0].split(".")[0] for name in moved if name.startswith(heads)} == {
        "actor", "online", "target"
    }  # fmt: skip
    assert all(moved[name] > 0 for name in moved if name.startswith(heads) and name.endswith("weight"))
    assert all(size == 0 for name, size in moved.items() if "encoder" in name or name.startswith("decoder"))
    agent_adam, auxiliary_adam = (optimiser.state for optimiser in module.optimizers())  # type: ignore[union-attr]
    younger = float(agent_adam[module.actor.net[0].weight]["step"])
    assert younger < float(agent_adam[module.temperature.log_alpha]["step"])
    assert all(float(moments["step"]) == 10 for moments in auxiliary_adam.values())


@pytest.mark.parametrize("moves", [True, False])
def test_the_critics_move_keypoints_only_if_they_may(moves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SAC, "logs_now", False)
    module = agent(imm=IMM, autoencoder=False, critics_move_keypoints=moves)
    SAC.training_step(module, spot_batch(), 0).backward()
    assert ("online.encoder" in reached(module)) == moves
    module.zero_grad()
    module.second_objective(with_images(spot_batch()), 0)["keypoints"].backward()
    assert reached(module) == {"online.encoder", "imm"}


def test_the_state_is_latent_and_keypoints_side_by_side() -> None:
    module, obs = agent(imm=IMM), spot_batch()["obs"]
    features = module.online.trunk(module.online.encoder(obs))
    assert features.shape == (8, 5 + 6)
    module.imm.eval()
    torch.testing.assert_close(features[:, 5:], module.imm(obs.float() / 255.0).flatten(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"autoencoder": False}, "needs something to see with"),
        ({"imm": {"keypoints": 0}}, "IMM needs at least 1 keypoint"),
        ({"imm": {"keypoints": 2}}, "have no background"),
        ({"image_size": 8, "strides": [2, 2, 2, 1]}, "8 pixels is too small"),
        ({"strides": [0, 1]}, "strides must be at least 1 each"),
        ({"imm": {**IMM, "image_size": 24}}, "image_size cannot be set"),
        ({"imm": IMM, "imm_batch_size": 1}, "imm_batch_size must be at least 2"),
        ({"encoder_tau": 5.0}, "encoder_tau must lie in"),
        ({"log_std_bounds": (2.0, -10.0)}, "log_std_bounds must rise"),
    ],
)
def test_bad_settings_get_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        agent(**settings)


def test_heads_start_orthogonal_and_their_copies_equal() -> None:
    module = agent(mean_actor_tau=0.1)
    assert module.mean_actor is not None
    for weight, copied in zip(module.actor.parameters(), module.mean_actor.parameters(), strict=True):
        assert torch.equal(weight, copied)
    weight = module.actor.net[0].weight
    gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0.0)
    for layer, target in zip(module.online.critics.layers, module.target.critics.layers, strict=True):
        assert not layer.bias.any()
        assert torch.equal(layer.weight, target.weight)
    assert not torch.equal(*module.online.critics.layers[0].weight)


def test_images_and_their_bytes_are_seen_alike() -> None:
    module, obs = agent(imm=IMM), spot_batch()["obs"]
    torch.testing.assert_close(module.online.encoder(obs), module.online.encoder(obs.float() / 255.0))
    assert module.keypoints(obs).shape == (8, 3, 2)
    assert agent().keypoints(obs).shape == (8, 0, 2)
