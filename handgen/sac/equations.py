"""Which form of each equation the module uses: that of the literature or the printed one, one flag for each."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from handgen.errors import UserError
from handgen.sac.losses import Sign

Variant = Literal["sac", "seed"]
TargetMinimum = Literal["critics", "actions"]
EntropyBonus = Literal["discounted", "undiscounted"]
Bootstrap = Literal["critics", "value"]
ValueLoss = Literal["none", "squared", "kl"]
TemperatureStep = Literal["log", "alpha", "additive"]


@dataclass(frozen=True)
class Equations:
    """The form of each equation.

    Attributes:
        variant: the preset that the flags deviate from.
        target_minimum: the target takes the minimum over target ``critics`` (SAC v2) or over sampled ``actions``.
        entropy_bonus: the target's entropy bonus is ``discounted`` (SAC v2) or ``undiscounted``.
        bootstrap: the target looks ahead through target ``critics`` (SAC v2) or a target ``value`` network (SAC v1).
        value_loss: ``none`` (SAC v2 has no value network), ``squared`` (SAC v1) or ``kl``.
        temperature_step: gradient on log alpha of its own loss (``log``) or of that of alpha (``alpha``: v2 eq. 18 as
            it stands, and SAC+AE's code), or an ``additive``, clipped step on alpha.
        temperature_sign: ``correct`` or ``printed``.
        critics: number of critics.
    """

    variant: Variant = "sac"
    target_minimum: TargetMinimum = "critics"
    entropy_bonus: EntropyBonus = "discounted"
    bootstrap: Bootstrap = "critics"
    value_loss: ValueLoss = "none"
    temperature_step: TemperatureStep = "log"
    temperature_sign: Sign = "correct"
    critics: int = 2

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be computed."""
        if self.bootstrap == "value" and self.value_loss == "none":
            raise UserError("bootstrap: value needs a value network: set value_loss to squared (or kl)")
        if self.bootstrap == "value" and (self.target_minimum, self.entropy_bonus) != ("critics", "discounted"):
            raise UserError("target_minimum and entropy_bonus shape the target of critics: leave out bootstrap: value")
        if self.critics < 1:
            raise UserError(f"critics must be at least 1, got {self.critics}")

    @property
    def label(self) -> str:
        """The variant and what deviates from it, for result records: ``sac``, ``sac temperature_sign=printed``."""
        preset = PRESETS[self.variant]
        pairs = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return " ".join([self.variant, *(f"{name}={value}" for name, value in pairs if value != getattr(preset, name))])


PRESETS: dict[Variant, Equations] = {
    "sac": Equations(),
    # Equation 1 has one critic and its bootstrap reads no V, although equation 2 defines one.
    "seed": Equations(
        variant="seed",
        target_minimum="actions",
        entropy_bonus="undiscounted",
        value_loss="kl",
        temperature_step="additive",
        temperature_sign="printed",
        critics=1,
    ),
}


def choose_equations(variant: Variant, **flags: Any) -> Equations:
    """A variant with single flags changed.

    Args:
        variant: ``sac`` or ``seed``.
        flags: fields of `Equations`; None leaves the variant's.

    Raises:
        UserError: If the variant is unknown or the flags contradict each other.
    """
    if variant not in PRESETS:
        raise UserError(f"unknown variant {variant!r}: choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[variant], **{name: value for name, value in flags.items() if value is not None})
