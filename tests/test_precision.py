"""Number formats: bfloat16 only where it is asked for or where there are units for it."""

import pytest
import torch

from handgen import precision

CPU = torch.device("cpu")


def product_dtype(compute: precision.Compute) -> torch.dtype:
    with precision.autocast(CPU, compute):
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_a_format_can_be_forced() -> None:
    assert product_dtype("float32") == torch.float32
    assert product_dtype("bfloat16") == torch.bfloat16


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16"])
@pytest.mark.parametrize(("there", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, instructions: str, there: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: there}, raising=False)
    assert product_dtype("auto") == expected


def test_an_older_torch_without_the_query_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert product_dtype("auto") == torch.float32
