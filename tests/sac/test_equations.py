"""The variants and their flags."""

import pytest

from handgen.errors import UserError
from handgen.sac.equations import choose_equations

DEVIATIONS = {
    "target_minimum": "actions",
    "entropy_bonus": "undiscounted",
    "value_loss": "kl",
    "temperature_step": "additive",
    "temperature_sign": "printed",
}


def test_labels_name_the_variant_and_what_deviates() -> None:
    assert choose_equations("sac").label == "sac"
    assert choose_equations("sac", temperature_sign="printed").label == "sac temperature_sign=printed"
    assert choose_equations("sac", temperature_sign="correct").label == "sac"
    assert choose_equations("seed", critics=2).label == "seed critics=2"


def test_seed_is_all_five_deviations_with_one_critic() -> None:
    flags = {**DEVIATIONS, "critics": 1}
    seed, built = choose_equations("seed"), choose_equations("sac", **flags)
    assert all(getattr(seed, name) == getattr(built, name) for name in flags)
    undone = choose_equations("seed", **dict.fromkeys(flags))
    assert undone == seed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bootstrap": "value"}, "value_loss"),
        ({"bootstrap": "value", "value_loss": "squared", "target_minimum": "actions"}, "bootstrap"),
        ({"critics": 0}, "critics"),
    ],
)
def test_contradictions_are_named(flags: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_equations("sac", **flags)


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(UserError, match="unknown variant 'sacc': choose one of sac, seed"):
        choose_equations("sacc")  # type: ignore[arg-type]
