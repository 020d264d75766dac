"""Encoder, decoder and the moving average of their weights."""

import pytest
import torch

from handgen.errors import UserError
from handgen.vae.networks import Autoencoder, Norm, stage_widths, update_average


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_shapes_and_ranges(size: int, norm: Norm) -> None:
    network = Autoencoder(size, latent_dim=5, width=8, max_width=16, norm=norm, blocks=1)
    image = torch.rand(2, 3, size, size)
    recon, mu, log_var = network(image)
    assert recon.shape == image.shape
    assert mu.shape == log_var.shape == (2, 5)
    assert recon.min() >= 0
    assert recon.max() <= 1


def test_one_stage_more_for_twice_the_size() -> None:
    assert stage_widths(64, 32, 256) == [32, 64, 128, 256]
    assert stage_widths(128, 32, 256) == [32, 64, 128, 256, 256]


def test_an_unsupported_size_is_named() -> None:
    with pytest.raises(UserError, match="not 100"):
        Autoencoder(100)


def test_posterior_noise_follows_the_generator() -> None:
    network = Autoencoder(16, 4, 8).eval()
    image = torch.rand(2, 3, 16, 16)
    same = [network(image, torch.Generator().manual_seed(seed))[0] for seed in (1, 1, 2)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_update_average_equals_the_formula() -> None:
    average, model = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1)
    model.weight.data.fill_(3.0)
    model.running_mean.fill_(2.0)
    model.num_batches_tracked.fill_(7)
    update_average(average, model, 0.75)
    assert average.weight.item() == 0.75 * 1 + 0.25 * 3
    assert average.running_mean.item() == 0.25 * 2
    assert average.num_batches_tracked.item() == 7
    update_average(average, model, 0.0)
    assert average.weight.item() == 3
