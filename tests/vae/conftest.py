"""Fixtures of the VAE's tests."""

from collections.abc import Iterator

import pytest
import torch
from toy_vae import TINY

from handgen.vae import VAE


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny() -> VAE:
    torch.manual_seed(0)
    return VAE(**TINY)
