"""Lets the arm imitate held-out hands of every kind, and shows it."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.arm.env import ArmImitation
from handgen.arm.evaluation import Act, Imitations, chosen, imitate_targets, measure
from handgen.callbacks.image_log import log_image
from handgen.episodes import steps_name
from handgen.errors import UserError, check_at_least
from handgen.images import make_grid
from handgen.loggers import log_metrics
from handgen.results import Measurement

COLUMNS = 4
FULL_SIZE = 56
"""Of the published pictures, whose pixels ``epsilon`` counts."""


class ArmEvaluation(Callback):
    """Measures ``mismatch``, ``iou``, ``success`` and ``joint_error_rad`` on each data set, in PyBullet.

    After epochs on few targets of the split ``val`` (``eval/mismatch/DATASET``, kept as ``mismatch@UPDATES_updates``),
    at the end of a test run on many of ``test``: of the policy (variant ``rl``), and of what it was before it was
    rewarded (``imitation``), where there was a warm start. A curve is drawn over updates, as a warm start takes no
    environment steps: over these, all of it would be one point. Sheets of target, arm and overlay (white both, yellow
    the target alone, blue the arm alone) go to ``images/``.

    Args:
        feeds: data sets; real ones that are absent are left out.
        during: targets of each after an epoch.
        count: targets of each at the end.
        every_n_epochs: epochs between two looks.
        decisions: of an episode, the same for all methods.
        epsilon: pixels of a picture of 56 x 56 that may differ for ``success``, the same for all methods, as published.
        shown: imitations on a sheet.
    """

    def __init__(
        self,
        feeds: list[str] | None = None,
        during: int = 40,
        count: int = 300,
        every_n_epochs: int = 2,
        decisions: int = 3,
        epsilon: int = 150,
        shown: int = 24,
    ) -> None:
        check_at_least(1, during=during, count=count, every_n_epochs=every_n_epochs, decisions=decisions, shown=shown)
        self.feeds = feeds or ["rendered", "synthetic", "hands11k", "sign_digits"]
        self.during, self.count, self.every_n_epochs = during, count, every_n_epochs
        self.decisions, self.epsilon, self.shown = decisions, epsilon, shown
        self.measurements: list[Measurement] = []
        self.points: list[dict[str, Any]] = []
        self._envs: dict[tuple[str, str], ArmImitation | None] = {}
        self._usable: dict[tuple[str, str], tuple[int, list[int]]] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at a few imitations."""
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every_n_epochs or not trainer.is_global_zero:
            return
        module: Any = pl_module
        metric = f"mismatch@{steps_name(trainer.global_step)}_updates"
        variant = "imitation" if has_warm_start(trainer) and not bool(module.rewarded) else "rl"
        for name in self.feeds:
            found = self._imitate(trainer, name, "val", lambda obs: module.act(obs, True), self.during, self.shown)
            if found is None:
                continue
            for measurement in measure(found, name, ""):
                log_metrics(trainer, {f"eval/{measurement.metric}/{name}": measurement.value})
            value = float(found.mismatch.mean())
            self.points.append({"metric": metric, "value": value, "dataset": name, "variant": variant})
            self._show(trainer, name, found, f"{trainer.global_step:06d}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure everything."""
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        acts: dict[str, Act] = {"rl": lambda obs: module.act(obs, True)}
        if has_warm_start(trainer):
            acts = {"imitation": module.imitate, **(acts if bool(module.rewarded) else {})}
        self.measurements = []
        for name in self.feeds:
            for variant, act in acts.items():
                found = self._imitate(trainer, name, "test", act, self.count, self.shown)
                if found is not None:
                    asked, kept = self._usable[name, "test"]
                    self.measurements += measure(found, name, variant)
                    self.measurements.append(Measurement("usable", len(kept) / asked, None, None, asked, variant, name))
                    self._show(trainer, name, found, f"{variant}-final")
        for measurement in self.measurements:
            key = f"eval/{measurement.metric}/{measurement.dataset}/{measurement.variant}"
            log_metrics(trainer, {key: measurement.value})
        self.measurements += [Measurement(**point) for point in self.points]

    def _imitate(self, trainer: Trainer, name: str, split: str, act: Act, count: int, shown: int) -> Imitations | None:
        """Imitations of one data set, None where it is absent."""
        if (name, split) not in self._envs:
            self._envs[name, split] = self._open(trainer, name, split)
        env = self._envs[name, split]
        if env is None:
            return None
        if (name, split) not in self._usable:
            asked = chosen(len(env.feeds[0]), count)
            self._usable[name, split] = (len(asked), usable(env, asked))
        device = trainer.lightning_module.device
        return imitate_targets(env, lambda obs: act(obs.to(device)), self._usable[name, split][1], shown)

    def _open(self, trainer: Trainer, name: str, split: str) -> ArmImitation | None:
        """The world of one data set; None, with a warning, where it is absent and nobody has asked for it."""
        source: Any = trainer.datamodule  # type: ignore[attr-defined]
        kept = {
            key: value for key, value in source.env_kwargs.items() if key not in ("feed", "renderer", "render_mode")
        }
        size = kept.get("size", FULL_SIZE)
        kept |= {"epsilon": round(self.epsilon * (size / FULL_SIZE) ** 2), "episode_decisions": self.decisions}
        try:
            env = ArmImitation(**{**kept, "feed": name, "split": split})
            # Photographs are decoded and segmented once, not for each policy and each look.
            env.feeds[0].target = cache(env.feeds[0].target)  # type: ignore[method-assign]
            return env
        except UserError as error:
            if name in source.feeds or name in ("rendered", "synthetic"):
                raise
            warnings.warn(f"the arm is not graded on {name}: {error}", stacklevel=1)
            return None

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the worlds."""
        for env in filter(None, self._envs.values()):
            env.close()
        self._envs.clear()

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


def has_warm_start(trainer: Trainer) -> bool:
    """Whether the actor imitates before it is rewarded."""
    return bool(getattr(trainer.datamodule, "imitation_updates", 0))  # type: ignore[attr-defined]


def usable(env: ArmImitation, indices: list[int]) -> list[int]:
    """Those targets that show a hand: the others would be replaced by their neighbours, and counted twice.

    Raises:
        UserError: if none does.
    """
    kept, reason = [], "there is none"
    for index in indices:
        try:
            env.feeds[0].target(index, env.size)
        except ValueError as error:
            reason = str(error)
            continue
        kept.append(index)
    if not kept:
        raise UserError(f"the feed {env.feeds[0].name} shows no hand in {len(indices)} targets: {reason}")
    return kept
