"""Lets the arm imitate held-out hands of every kind, and shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.arm.env import ArmImitation
from handgen.arm.evaluation import Act, Imitations, chosen, imitate_targets, measure
from handgen.callbacks.image_log import log_image
from handgen.episodes import steps_name
from handgen.errors import UserError
from handgen.images import make_grid
from handgen.results import Measurement

COLUMNS = 4


class ArmEvaluation(Callback):
    """Measures ``mismatch``, ``iou``, ``success`` and ``joint_error_rad`` on each data set, in PyBullet.

    After epochs on few targets of the split ``val`` (``eval/mismatch/DATASET``, kept as ``mismatch@STEPS``), at the end
    of a test run on many of ``test``: of the policy, and of what it was before it was rewarded (variant
    ``imitation``). Sheets of target, arm and overlay (white both, yellow the target alone, blue the arm alone) go to
    ``images/``.

    Args:
        feeds: data sets; real ones that are absent are left out.
        during: targets of each after an epoch.
        count: targets of each at the end.
        every_n_epochs: epochs between two looks.
        decisions: of an episode, the same for all methods.
        shown: imitations on a sheet.
    """

    def __init__(
        self,
        feeds: list[str] | None = None,
        during: int = 40,
        count: int = 300,
        every_n_epochs: int = 2,
        decisions: int = 3,
        shown: int = 24,
    ) -> None:
        self.feeds = feeds or ["rendered", "synthetic", "hands11k", "sign_digits"]
        self.during, self.count, self.every_n_epochs = during, count, every_n_epochs
        self.decisions, self.shown = decisions, shown
        self.measurements: list[Measurement] = []
        self.points: list[dict[str, Any]] = []
        self._envs: dict[tuple[str, str], ArmImitation | None] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at a few imitations."""
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every_n_epochs or not trainer.is_global_zero:
            return
        module: Any = pl_module
        steps = int(trainer.datamodule.env_steps)  # type: ignore[attr-defined]
        for name in self.feeds:
            found = self._imitate(trainer, name, "val", lambda obs: module.act(obs, True), self.during, self.shown)
            if found is None:
                continue
            for measurement in measure(found, name, ""):
                self._log(trainer, f"eval/{measurement.metric}/{name}", measurement.value)
            value = float(found.mismatch.mean())
            self.points.append({"metric": f"mismatch@{steps_name(steps)}", "value": value, "dataset": name})
            self._show(trainer, name, found, f"{trainer.global_step:06d}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure everything."""
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        acts: dict[str, Act] = {"rl": lambda obs: module.act(obs, True)}
        if hasattr(module, "imitate"):
            acts = {"imitation": module.imitate, **(acts if bool(module.rewarded) else {})}
        self.measurements = []
        for name in self.feeds:
            for variant, act in acts.items():
                found = self._imitate(trainer, name, "test", act, self.count, self.shown)
                if found is not None:
                    self.measurements += measure(found, name, variant)
                    self._show(trainer, name, found, f"{variant}-final")
        for measurement in self.measurements:
            key = f"eval/{measurement.metric}/{measurement.dataset}/{measurement.variant}"
            self._log(trainer, key, measurement.value)
        self.measurements += [Measurement(**point) for point in self.points]

    def _imitate(self, trainer: Trainer, name: str, split: str, act: Act, count: int, shown: int) -> Imitations | None:
        """Imitations of one data set, None where it is absent."""
        if (name, split) not in self._envs:
            settings = trainer.datamodule.env_kwargs  # type: ignore[attr-defined]
            kept = {key: value for key, value in settings.items() if key not in ("feed", "renderer", "render_mode")}
            try:
                self._envs[name, split] = ArmImitation(
                    **{**kept, "feed": name, "split": split, "episode_decisions": self.decisions}
                )
            except UserError:
                if name in trainer.datamodule.feeds or name in ("rendered", "synthetic"):  # type: ignore[attr-defined]
                    raise
                self._envs[name, split] = None
        env = self._envs[name, split]
        if env is None:
            return None
        device = trainer.lightning_module.device
        indices = usable(env, chosen(len(env.feeds[0]), count))
        return imitate_targets(env, lambda obs: act(obs.to(device)), indices, shown)

    def _log(self, trainer: Trainer, name: str, value: float) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({name: value}, step=trainer.global_step)

    def _show(self, trainer: Trainer, name: str, found: Imitations, when: str) -> None:
        """A sheet."""
        images = torch.from_numpy(np.stack(found.pictures)).permute(0, 3, 1, 2)
        path = Path(trainer.default_root_dir) / "images" / f"{name}-{when}.png"
        log_image(trainer, f"images/{name}", make_grid(images, columns=COLUMNS, padding=6), path)

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.points = list(state_dict["points"])


def usable(env: ArmImitation, indices: list[int]) -> list[int]:
    """Those targets that show a hand: the others would be replaced by their neighbours, and counted twice."""
    kept = []
    for index in indices:
        try:
            env.feeds[0].target(index, env.size)
        except ValueError:
            continue
        kept.append(index)
    return kept
