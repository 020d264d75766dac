"""Fixtures of the VAE's tests."""

import pytest
import torch
from toy_vae import TINY

from handgen.vae import VAE


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return VAE(**TINY)
