"""The loss-delta tuner: reward by hand, the transform in the decoder, exact resume."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from toy_tuner import make_trainer, weights
from toy_vae import TINY, Blobs

from handgen.callbacks.loss_delta_reward import LossDeltaReward
from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.errors import UserError
from handgen.latent import LossTuner
from handgen.latent.transform import loss_delta_reward

SETTINGS: dict[str, Any] = {**TINY, "random_actions": 1, "agent_hidden_dims": (8, 8), "agent_batch_size": 4}


def loss_tuner(**settings: Any) -> LossTuner:
    torch.manual_seed(0)
    return LossTuner(**{**SETTINGS, **settings})


def test_the_reward_by_hand() -> None:
    assert loss_delta_reward(0.75, 1.0, 2.0) == 0.5
    assert loss_delta_reward(1.5, 1.0, 2.0) == -1.0
    losses = [4.0, 3.0, 3.5, 1.0]
    rewards = [loss_delta_reward(now, before, 0.5) for before, now in itertools.pairwise(losses)]
    assert sum(rewards) == pytest.approx(0.5 * (4.0 - 1.0))  # it telescopes, whatever was done in between


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_lambda_must_be_positive(scale: float) -> None:
    with pytest.raises(UserError, match="lambda must be positive"):
        LossDeltaReward(scale=scale)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_gets_one_line(loss: float) -> None:
    with pytest.raises(UserError, match="the loss became"):
        loss_delta_reward(loss, 1.0, 1.0)


class Recorded(LossTuner):
    """Keeps what it is given."""

    def receive_reward(self, reward: float | None, loss: float) -> None:
        self.received = [*getattr(self, "received", []), (reward, loss)]
        super().receive_reward(reward, loss)


@pytest.mark.parametrize(("split", "key"), [("train", "train/loss"), ("val", "eval/loss")])
def test_windows_are_rewarded_from_the_second_on(split: Any, key: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tuner = Recorded(**SETTINGS)
    make_trainer(tmp_path, max_epochs=3, callbacks=[LossDeltaReward(scale=2.0, split=split)]).fit(tuner, Blobs())
    (first, *rest) = tuner.received
    assert first[0] is None and len(rest) == 2
    before = first[1]
    for reward, loss in rest:
        assert reward == pytest.approx(-2.0 * (loss - before))
        before = loss
    # The first window has no action, the last one's reward is stored: nothing is chosen that is not trained with.
    assert len(tuner.experience["obs"]) == tuner.decisions == 2
    assert tuner.experience["terminated"].all()  # one state per episode


def test_windows_may_be_shorter_than_an_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tuner = Recorded(**SETTINGS)
    make_trainer(tmp_path, callbacks=[LossDeltaReward(every_n_batches=2)]).fit(tuner, Blobs(count=64))
    assert len(tuner.received) == 4


def test_the_transform_at_the_end_is_the_last_that_was_trained_with(tmp_path: Path) -> None:
    class Watch(Callback):
        seen: torch.Tensor

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            self.seen = pl_module.transform.shift.clone()

    tuner, watch = loss_tuner(), Watch()
    make_trainer(tmp_path, max_epochs=3, callbacks=[LossDeltaReward(), watch]).fit(tuner, Blobs())
    assert watch.seen.any()
    assert torch.equal(tuner.transform.shift, watch.seen)


def test_the_weight_decay_is_the_vaes_and_spares_the_agent(tmp_path: Path) -> None:
    tuner = loss_tuner(optimizer="adamw", weight_decay=0.02)
    trainer = make_trainer(tmp_path, callbacks=[LossDeltaReward()])
    trainer.fit(tuner, Blobs())
    decays = {group["name"]: group["weight_decay"] for group in trainer.optimizers[0].param_groups}
    assert decays == {"vae": 0.02, "actor": 0.0, "critic": 0.0, "temperature": 0.0}


def test_agent_and_vae_learn_together_and_all_is_logged(tmp_path: Path) -> None:
    tuner = loss_tuner(agent_variant="seed")
    before = weights(tuner)
    trainer = make_trainer(tmp_path, max_epochs=3, gradient_clip_val=1.0, callbacks=[LossDeltaReward()])
    trainer.fit(tuner, Blobs())
    changed = {name for name, value in weights(tuner).items() if not torch.equal(value, before[name])}
    assert {"agent.actor.net.0.weight", "agent.online.critics.layers.0.weight", "transform.shift"} <= changed
    assert any(name.startswith("networks.encoder") for name in changed)
    logged = set(trainer.callback_metrics)
    assert {"train/temperature", "train/entropy", "train/q", "loss/critic", "loss/actor", "loss/value"} <= logged


def test_the_transform_is_part_of_decoder_and_samplers(tmp_path: Path) -> None:
    tuner = loss_tuner().eval()
    latent = torch.randn(3, 4)
    plain = tuner.decode(latent)
    tuner.transform.shift.fill_(0.5)
    tuner.transform.log_scale.fill_(0.1)
    assert not torch.allclose(tuner.decode(latent), plain)
    torch.testing.assert_close(tuner.decode(tuner.transform.inverse(latent)), plain)
    drawn = tuner.samplers(Blobs().all, ["prior", "prior_untransformed"])
    generator = torch.Generator()
    moved = tuner.transform(drawn["prior_untransformed"].sample(5, generator.manual_seed(0)))
    torch.testing.assert_close(moved, drawn["prior"].sample(5, generator.manual_seed(0)))


def test_resuming_is_exact(tmp_path: Path) -> None:
    def fit(name: str, epochs: int, checkpoint: Path | None = None) -> LossTuner:
        tuner = loss_tuner(lr_schedule="constant")
        torch.manual_seed(1)
        saver = ModelCheckpoint(tmp_path / name, save_last=True, save_on_train_epoch_end=True)
        callbacks = [TorchRandomState(), LossDeltaReward(every_n_batches=3), saver]
        trainer = make_trainer(tmp_path, max_epochs=epochs, enable_checkpointing=True, callbacks=callbacks)
        trainer.fit(tuner, Blobs(), ckpt_path=checkpoint, weights_only=True)
        return tuner

    whole = fit("whole", 4)
    fit("first", 2)
    resumed = fit("rest", 4, tmp_path / "first" / "last.ckpt")
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0.0, atol=0.0)
    torch.testing.assert_close(resumed.experience, whole.experience, rtol=0.0, atol=0.0)


def test_a_module_without_an_agent_is_refused(tmp_path: Path) -> None:
    from handgen.vae import VAE

    with pytest.raises(UserError, match="VAE has no receive_reward"):
        make_trainer(tmp_path, callbacks=[LossDeltaReward()]).fit(VAE(**TINY), Blobs())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"agent_variant": "sacc"}, "unknown agent_variant 'sacc'"),
        ({"episode_length": 0}, "episode_length must be at least 1"),
        ({"max_shift": -1.0}, "max_shift and max_log_scale must be positive"),
    ],
)
def test_bad_settings_get_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loss_tuner(**settings)
