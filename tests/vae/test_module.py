"""The VAE module: use, training, evaluation, resuming."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from toy_vae import TINY, Blobs, blobs, make_trainer

from handgen.callbacks.torch_random_state import TorchRandomState
from handgen.errors import UserError
from handgen.vae import SAMPLERS, VAE


def backward(module: VAE) -> dict[str, Tensor]:
    """Gradients of one training step, without a trainer."""
    image = blobs(8).float() / 255
    recon, mu, log_var = module.networks(module.layout(image))
    terms = module.objective(recon, image, mu, log_var, step=0)
    terms["total"].backward()
    return terms


def test_methods_return_the_documented_shapes(tiny: VAE) -> None:
    tiny.eval()
    image = blobs(3).float() / 255
    mu, log_var = tiny.encode(image)
    assert mu.shape == log_var.shape == (3, 4)
    assert tiny.decode(mu).shape == tiny.reconstruct(image).shape == tiny(image).shape == image.shape
    assert tiny.interpolate(image, image.flip(0), steps=5).shape == (3, 5, 3, 16, 16)
    assert tiny.traverse(image[:1], dimension=2, steps=7).shape == (7, 3, 16, 16)


def test_interpolation_and_traversal_contain_the_reconstruction(tiny: VAE) -> None:
    tiny.eval()
    image = blobs(2).float() / 255
    recon = tiny.reconstruct(image)
    line = tiny.interpolate(image[:1], image[1:], steps=3)
    torch.testing.assert_close(line[0, 0], recon[0])
    torch.testing.assert_close(line[0, -1], recon[1])
    torch.testing.assert_close(tiny.traverse(image[:1], dimension=0, steps=5)[2], recon[0])


def test_gradients_reach_encoder_and_decoder_and_not_the_average(tiny: VAE) -> None:
    backward(tiny)
    for name, parameter in tiny.networks.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert all(parameter.grad is None for parameter in tiny.average.parameters())


def test_decode_is_differentiable_in_the_latent(tiny: VAE) -> None:
    latent = torch.zeros(1, 4, requires_grad=True)
    tiny.decode(latent).sum().backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0


@pytest.mark.parametrize("likelihood", ["beta", "calibrated", "laplace"])
def test_total_is_the_weighted_sum_of_its_terms(likelihood: str) -> None:
    module = VAE(**{**TINY, "kl_warmup_steps": 4}, likelihood=likelihood, beta=0.5, detail_weight=0.3)
    terms = {name: value.item() for name, value in backward(module).items()}
    # step 0 of a warm-up of 4: a quarter of beta
    expected = (terms["recon"] + 0.5 * 0.25 * terms["kl"] + 0.3 * terms["detail"]) / (3 * 16 * 16)
    assert terms["total"] == pytest.approx(expected, rel=1e-5)


def test_one_step_changes_every_parameter_and_the_average(tiny: VAE, tmp_path: Path) -> None:
    before = copy.deepcopy(tiny.state_dict())
    trainer = make_trainer(tmp_path, max_steps=1)
    trainer.fit(tiny, Blobs())
    assert trainer.global_step == 1
    for name, parameter in tiny.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_the_average_follows_the_formula(tiny: VAE, tmp_path: Path) -> None:
    start = tiny.networks.encoder.head.weight.detach().clone()
    make_trainer(tmp_path, max_steps=1).fit(tiny, Blobs())
    decay = 1 / 10  # (1 + n) / (10 + n) at n = 0
    expected = decay * start + (1 - decay) * tiny.networks.encoder.head.weight
    torch.testing.assert_close(tiny.average.encoder.head.weight, expected)


def test_without_averaging_the_evaluated_weights_are_the_trained_ones(tmp_path: Path) -> None:
    module = VAE(**TINY, ema_decay=0.0)
    make_trainer(tmp_path, max_steps=3).fit(module, Blobs())
    for trained, evaluated in zip(
        module.networks.state_dict().values(), module.average.state_dict().values(), strict=True
    ):
        assert torch.equal(trained, evaluated)


def test_using_the_module_in_training_mode_changes_nothing(tiny: VAE) -> None:
    tiny.train()
    before = copy.deepcopy(tiny.state_dict())
    tiny.reconstruct(blobs(4).float() / 255)
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())


def test_evaluation_logs_the_held_out_metrics(tiny: VAE, tmp_path: Path) -> None:
    (metrics,) = make_trainer(tmp_path).validate(tiny, Blobs(), verbose=False)
    assert set(metrics) == {f"eval/{k}" for k in ("loss", "recon", "kl", "elbo", "mse", "active_units")}
    assert metrics["eval/elbo"] == pytest.approx(-metrics["eval/recon"] - metrics["eval/kl"], rel=1e-4)
    tiny.eval()
    image = blobs(32).float() / 255
    expected = (tiny.reconstruct(image) - image).square().mean().item()
    assert metrics["eval/mse"] == pytest.approx(expected, rel=1e-3)


def test_samples_depend_on_the_seed_alone(tiny: VAE) -> None:
    tiny.eval()
    tiny.prepare_sampling(Blobs())
    first = tiny.sample(5, seed=1)
    torch.randn(3)
    assert torch.equal(first, tiny.sample(5, seed=1))
    assert not torch.equal(first, tiny.sample(5, seed=2))
    assert first.shape == (5, 3, 16, 16)


def test_every_sampler_decodes(tiny: VAE) -> None:
    tiny.eval()
    samplers = tiny.samplers(blobs(32))
    assert tuple(samplers) == SAMPLERS
    for sampler in samplers.values():
        image = tiny.decode(sampler.sample(2, torch.Generator().manual_seed(0)))
        assert image.shape == (2, 3, 16, 16)


def test_sampling_before_preparing_says_what_to_do(tiny: VAE) -> None:
    assert tiny.sample(2, sampler="prior").shape[0] == 2
    with pytest.raises(UserError, match="prepare_sampling"):
        tiny.sample(2, sampler="gmm")


def test_training_forgets_fitted_samplers(tiny: VAE, tmp_path: Path) -> None:
    tiny.prepare_sampling(Blobs())
    make_trainer(tmp_path, max_steps=1).fit(tiny, Blobs())
    with pytest.raises(UserError, match="prepare_sampling"):
        tiny.sample(2, sampler="gmm")


@pytest.mark.parametrize(("setting", "value"), [("sampler", "nonsense"), ("ema_decay", 1.0)])
def test_wrong_settings_are_named(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=setting):
        VAE(**{**TINY, setting: value})


def test_two_runs_with_one_seed_are_equal(tmp_path: Path) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(3)
        module = VAE(**TINY)
        make_trainer(tmp_path, max_steps=4).fit(module, Blobs())
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("every", [4, 2])  # at the end of an epoch of four batches, and in the middle of one
def test_resuming_is_exact(tmp_path: Path, every: int) -> None:
    def run(steps: int, checkpoint: Path | None = None) -> dict[str, Tensor]:
        torch.manual_seed(0 if checkpoint is None else 99)
        module = VAE(**TINY, lr_schedule="constant")
        saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=every, save_top_k=-1)
        callbacks = [TorchRandomState(), saver]
        settings = {
            "max_steps": steps,
            "max_epochs": -1,
            "enable_checkpointing": True,
            "callbacks": callbacks,
        }
        data = Blobs()
        data.all = blobs(8).repeat(4, 1, 1, 1)  # equal batches: where the data continue is the data module's affair
        make_trainer(tmp_path, **settings).fit(module, data, ckpt_path=checkpoint)
        return module.state_dict()

    straight = run(8)
    resumed = run(8, checkpoint=tmp_path / f"step={every}.ckpt")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_overfits_eight_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = VAE(**{**TINY, "latent_dim": 8}, beta=0.01, ema_decay=0.9, lr=5e-3)
    data = Blobs(count=8)
    make_trainer(tmp_path, max_steps=150, max_epochs=-1, limit_val_batches=0).fit(module, data)
    image = data.all.float() / 255
    blank = (image - image.mean(0)).square().mean()
    assert (module.eval().reconstruct(image) - image).square().mean() < 0.05 * blank
