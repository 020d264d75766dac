"""Keeps every evaluation of a run, so that learning curves can be drawn from result records."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.episodes import return_measurement, steps_name
from handgen.results import Measurement


class ReturnCurve(Callback):
    """Measures ``return@STEPS`` at every validation, and chosen metrics beside it.

    Args:
        metrics: logged keys to keep as ``NAME@STEPS`` (``train/temperature`` becomes ``temperature@6k``).
    """

    def __init__(self, metrics: list[str] | None = None) -> None:
        self.metrics = metrics or []
        self.points: list[dict[str, Any]] = []
        self.final_steps: int | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep this evaluation."""
        if trainer.sanity_checking:
            return
        logged = {key: float(trainer.callback_metrics[key]) for key in self.metrics if key in trainer.callback_metrics}
        steps = int(trainer.datamodule.env_steps)  # type: ignore[attr-defined]
        point = {"env_steps": steps, "returns": pl_module.eval_returns.cpu(), "logged": logged}
        self.points.append({**point, "variant": getattr(pl_module, "label", "")})

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the return of the final weights to the final evaluation, which has more episodes."""
        self.final_steps = int(pl_module.env_steps)  # type: ignore[arg-type]

    @property
    def measurements(self) -> list[Measurement]:
        """The evaluations as measurements, for ``result.json``."""
        found = []
        for point in self.points:
            variant, env_steps = point["variant"], point["env_steps"]
            if env_steps != self.final_steps:
                found.append(return_measurement(point["returns"], env_steps, variant))
            found += [
                Measurement(f"{key.partition('/')[2]}@{steps_name(env_steps)}", value, variant=variant)
                for key, value in point["logged"].items()
            ]
        return found

    def state_dict(self) -> dict[str, Any]:
        """The evaluations so far."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.points = list(state_dict["points"])
