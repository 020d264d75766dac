"""The tuner: who learns, who does not, what it gains, and that a resumed run is the run itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from toy_tuner import LATENTS, ToyHands, ToyJudge, make_trainer, save_vae, toy_images, toy_tuner, weights

from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.datamodules.latent_rollouts import LatentRollouts
from handgen.errors import UserError
from handgen.latent import LatentTuner
from handgen.latent.frozen import open_vae
from handgen.latent.ladder import LADDER

DATA: dict[str, Any] = {
    "num_envs": 8,
    "batch_size": 32,
    "replay_capacity_transitions": 256,
    "warmup_decisions": 16,
    "updates_per_decision": 0.125,
    "epoch_env_steps": 64,
    "eval_episodes": 4,
    "test_episodes": 4,
    "seed": 3,
}


def rollouts(**settings: Any) -> LatentRollouts:
    return LatentRollouts(ToyHands(), **{**DATA, **settings})  # type: ignore[arg-type]


def test_agent_and_discriminators_learn_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, feature_realism_weight=0.5, diversity_weight=0.5)
    before, judge = weights(tuner), weights(tuner.reward.judge)
    make_trainer(tmp_path).fit(tuner, datamodule=rollouts())
    changed = {name for name, value in weights(tuner).items() if not torch.equal(value, before[name])}
    assert {"actor.net.0.weight", "online.critics.layers.0.weight", "temperature.log_alpha"} <= changed
    assert {"reward.latent_realism.net.0.weight", "reward.feature_realism.net.0.weight"} <= changed
    assert not any(name.startswith("vae.") for name in changed)
    assert all(torch.equal(value, judge[name]) for name, value in weights(tuner.reward.judge).items())
    assert all(p.grad is None for p in (*tuner.vae.parameters(), *tuner.reward.judge.parameters()))


def test_it_beats_its_start_on_a_toy_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, latent_realism_weight=0.0, displacement_weight=0.1, lr=3e-3)
    make_trainer(tmp_path, max_epochs=4).fit(tuner, datamodule=rollouts(updates_per_decision=0.5, epoch_env_steps=200))
    before = tuner.potential(tuner.starts).mean()
    after = tuner.potential(tuner.move(tuner.starts)).mean()
    assert after > 0.5 * before  # both are negative log-probabilities


@pytest.mark.parametrize("length", [1, 3])
def test_episodes_of_any_length_train_and_log_every_term(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, episode_length=length, prior_weight=0.1, diversity_weight=0.1)
    trainer = make_trainer(tmp_path)
    trainer.fit(tuner, datamodule=rollouts())
    terms = ("judge", "latent_realism", "diversity", "displacement", "prior")
    logged = set(trainer.callback_metrics)
    assert {"train/reward", "loss/discriminator", "eval/return", *(f"train/reward_{term}" for term in terms)} <= logged
    assert trainer.callback_metrics["eval/episode_length"] == length
    assert tuner.move(tuner.starts).shape == tuner.starts.shape


def test_stored_transitions_are_rewarded_by_the_newest_discriminator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, judge_weight=0.0, displacement_weight=0.0)
    batch = {
        "obs": torch.zeros(2, LATENTS),
        "next_obs": torch.zeros(2, LATENTS),
        "action": torch.zeros(2, LATENTS),
        "terms": torch.zeros(2, 3),
        "features": torch.zeros(2, 3),
        "recent_features": torch.zeros(2, 3),
    }
    torch.nn.init.constant_(tuner.reward.latent_realism.net[-1].bias, 3.0)
    high = tuner.reward_terms(batch)["latent_realism"]
    torch.nn.init.constant_(tuner.reward.latent_realism.net[-1].bias, 2.0)
    torch.testing.assert_close(high - tuner.reward_terms(batch)["latent_realism"], torch.ones(2))


def test_resuming_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(name: str, epochs: int, checkpoint: Path | None = None) -> LatentTuner:
        tuner = toy_tuner(tmp_path / "vae", monkeypatch)
        torch.manual_seed(1)
        saver = ModelCheckpoint(tmp_path / name, save_last=True, save_on_train_epoch_end=True)
        trainer = make_trainer(
            tmp_path, max_epochs=epochs, enable_checkpointing=True, callbacks=[TorchRandomState(), saver]
        )
        trainer.fit(tuner, datamodule=rollouts(), ckpt_path=checkpoint, weights_only=True)
        return tuner

    whole = fit("whole", 3)
    fit("first", 1)
    resumed = fit("rest", 3, tmp_path / "first" / "last.ckpt")
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0.0, atol=0.0)


def test_a_checkpoint_carries_its_vae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handgen.latent.module.load_learned_judge", lambda path: ToyJudge())
    tuner = LatentTuner(vae=str(save_vae(tmp_path)), latent_dim=LATENTS, start="gaussian", hidden_dims=(8, 8))
    checkpoint = {"state_dict": tuner.state_dict(), "global_step": 0}
    tuner.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "tuner.ckpt")
    reopened = open_vae(tmp_path / "tuner.ckpt", LATENTS)
    torch.testing.assert_close(weights(reopened), weights(tuner.vae), rtol=0.0, atol=0.0)


def test_every_rung_of_the_ladder_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch)
    samplers = tuner.samplers(toy_images())
    assert set(samplers) == set(LADDER)
    calls = {"best_of_4": 3, "gradient_5": 15, "cem_48": 47, "tuner": 0, "tuner_gated": 1, "tuner_best_of_4": 0}
    calls |= {"tuner_judged_4": 3, "tuner_judged_16": 15}
    for name, sampler in samplers.items():
        got = sampler.sample(6, torch.Generator().manual_seed(0))
        assert got.shape == (6, LATENTS) and not got.requires_grad, name
        if name in calls:
            assert sampler.decoder_calls == 6 * calls[name], name
    assert tuner.sample(3).shape == (3, 3, 64, 64)
    for name, message in {
        "tunner": "unknown sampler 'tunner'",
        "best_of_0": "the number must be at least 1",
        "temperature_x": "'temperature_x' is no sampler",
    }.items():
        with pytest.raises(UserError, match=message):
            tuner.samplers(toy_images(), [name])


def test_critics_of_longer_episodes_are_not_asked_for_the_best_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, episode_length=3)
    assert "tuner_best_of_4" not in tuner.samplers(toy_images())
    with pytest.raises(UserError, match="needs episode_length=1"):
        tuner.samplers(toy_images(), ["tuner_best_of_4"])


def test_discriminators_that_do_not_count_are_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch)
    assert all(p.requires_grad for p in tuner.reward.latent_realism.parameters())
    assert not any(p.requires_grad for p in tuner.reward.feature_realism.parameters())
    tuner = toy_tuner(tmp_path, monkeypatch, latent_realism_weight=0.0)
    assert "discriminator" not in {group["name"] for group in tuner.parameter_groups()}


def test_the_units_of_a_trained_policy_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch)
    tuner.reward.mean.fill_(0.5)
    tuner.reward.deviation.fill_(2.0)
    tuner.prepare(toy_images())  # as when samples are drawn from a checkpoint
    assert (tuner.reward.mean == 0.5).all() and (tuner.reward.deviation == 2.0).all()


def test_repairing_never_lowers_the_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, views=1)
    for layer in tuner.reward.latent_realism.net[::2]:  # a discriminator with strong opinions has no say in it
        torch.nn.init.normal_(layer.weight, std=3.0)
    torch.nn.init.normal_(tuner.actor.net[-1].weight, std=5.0)
    image = torch.rand(20, 3, 64, 64)
    judge, plain = tuner.reward.judge, tuner.reconstruct(image)
    assert (judge(tuner.repair(image)) >= judge(plain)).all()
    assert (judge(tuner.repair(image, gate=False)) < judge(plain)).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 5}, "has 4 latents, model.latent_dim is 5"),
        ({"vae": None}, "needs a trained VAE"),
        ({"vae": "nowhere.ckpt"}, "no checkpoint at nowhere.ckpt"),
        ({"start": "gnn"}, "unknown start 'gnn'"),
        ({"rewarded": "geometric"}, "rewarded must be judge_a, not 'geometric'"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"episode_length": 6}, "episode_length must lie in 1 to 5"),
        ({"variant": "sacc"}, "unknown variant 'sacc'"),
        ({"start": "temperature_x"}, "'temperature_x' is no sampler"),
        ({"rewarded": "judge_b"}, "judge_b measures coverage"),
        ({"views": 0}, "views must be at least 1"),
        ({"displacement_weight": -1.0}, "displacement_weight must be 0 or more"),
        ({"judge_weight": float("nan")}, "judge_weight must be 0 or more"),
        ({"initial_temperature": 0.0}, "initial_temperature must be positive"),
        ({"lr": -1.0}, "lr must be positive"),
    ],
)
def test_bad_settings_get_one_line(
    settings: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        LatentTuner(**{"vae": str(save_vae(tmp_path)), "latent_dim": LATENTS, "start": "gaussian", **settings})
    assert "\n" not in str(caught.value)


def test_a_missing_judge_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handgen.latent.module.WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="no weights of judge_a"):
        LatentTuner(vae=str(save_vae(tmp_path)), latent_dim=LATENTS)


def test_a_checkpoint_of_something_else_gets_one_line(tmp_path: Path) -> None:
    torch.save({"state_dict": {"layer": torch.zeros(2)}, "hyper_parameters": {"lr": 1}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="no checkpoint of a VAE"):
        open_vae(tmp_path / "other.ckpt")


def test_images_of_another_size_get_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, prepared=False)
    with pytest.raises(UserError, match="takes images of 64 pixels, the data have 32"):
        tuner.prepare(toy_images()[:, :, :32, :32])
