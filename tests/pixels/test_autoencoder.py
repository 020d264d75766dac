"""SAC+AE's autoencoder: published sizes, initialisation, target and loss on numbers worked by hand."""

import pytest
import torch

from handgen.errors import UserError
from handgen.pixels.autoencoder import (
    PUBLISHED_STRIDES,
    ConvEncoder,
    Decoder,
    LatentTrunk,
    autoencoder_loss,
    reconstruction_target,
)


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_published_sizes() -> None:
    encoder = ConvEncoder()
    assert encoder.sizes == [84, 41, 39, 37, 35]
    assert encoder.feature_dim == 39_200
    assert count(encoder, LatentTrunk(encoder.feature_dim)) == pytest.approx(1.99e6, rel=0.005)
    assert count(Decoder(encoder, 9, 50, PUBLISHED_STRIDES)) == pytest.approx(2.03e6, rel=0.005)
    assert ConvEncoder(strides=(2, 2, 2, 1)).feature_dim == 1_568


@pytest.mark.parametrize("strides", [PUBLISHED_STRIDES, (2, 2, 2, 1)])
@pytest.mark.parametrize("size", [64, 77, 84])
def test_the_decoder_gives_back_the_size_of_the_image(strides: tuple[int, ...], size: int) -> None:
    encoder = ConvEncoder(6, size, strides, filters=4)
    trunk, decoder = LatentTrunk(encoder.feature_dim, 5), Decoder(encoder, 6, 5, strides)
    obs = torch.randint(0, 256, (2, 6, size, size), dtype=torch.uint8)
    latent = trunk(encoder(obs))
    assert latent.shape == (2, 5)
    assert latent.abs().max() <= 1.0
    assert decoder(latent).shape == obs.shape


def test_a_small_image_is_refused() -> None:
    with pytest.raises(UserError, match="8 pixels is too small"):
        ConvEncoder(size=8, strides=(2, 2, 2, 1))


def test_convolutions_begin_orthogonal_at_their_centre_and_empty_elsewhere() -> None:
    weight = ConvEncoder().layers[2].weight.detach()
    centre = weight[:, :, 1, 1]
    assert torch.allclose(centre @ centre.T, 2.0 * torch.eye(32), atol=1e-5)  # gain sqrt(2), squared
    assert weight.abs().sum() == pytest.approx(float(centre.abs().sum()))


def test_the_target_keeps_five_bits() -> None:
    obs = torch.tensor([0, 7, 8, 255], dtype=torch.uint8)
    assert torch.allclose(reconstruction_target(obs, torch.zeros(4)), torch.tensor([0, 0, 1, 31]) / 32 - 0.5)
    assert torch.allclose(reconstruction_target(obs, torch.full((4,), 0.5))[:1], torch.tensor([0.5 / 32 - 0.5]))


def test_the_loss_on_numbers_worked_by_hand() -> None:
    reconstruction, target = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 0.0]]]])
    latent = torch.tensor([[3.0, 4.0]])
    assert autoencoder_loss(reconstruction, target, latent, 0.1).item() == pytest.approx(0.5 + 0.1 * 12.5)
