"""Grades a painter, stage by stage, and shows its paintings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from handgen.callbacks.image_log import log_image
from handgen.episodes import steps_name
from handgen.errors import UserError, check_at_least
from handgen.images import make_grid
from handgen.loggers import log_metrics
from handgen.painter.evaluation import (
    Fit,
    Painted,
    fit_pictures,
    grade_pictures,
    measure_copies,
    measure_fit,
    measure_programs,
    measure_samples,
    measure_scenes,
    measure_search,
    paint_many,
    real_classifier,
    search_many,
)
from handgen.painter.gallery import FILM_SIDE, write_film
from handgen.painter.judge import Classifier
from handgen.painter.rollout import strokes_drawn
from handgen.painter.worlds import make_world
from handgen.random_state import seeded
from handgen.results import Measurement

SHOWN = 64
FILMED = 16
LARGEST_SHOWN = 64
"""Pixels: smaller paintings are enlarged on sheets."""


class PaintingEvaluation(Callback):
    """Measures what is painted, after epochs in little and at the end of a test run in full.

    At the end every stage is measured on the same noise: ``heldout`` (test pictures), ``fit`` (their strokes),
    ``programs`` (these as actions), ``distilled`` (the policy before it was rewarded, if it has learnt by then) and,
    once it was, ``rl``. Paintings of nothing in particular are drawn at the painter's temperature and graded by a
    classifier of real training pictures; copies are of the likeliest actions, and are compared with their targets. All
    are painted with the engine that training paints with. The figures go to ``measurements`` and, as ``eval/METRIC``,
    to the loggers; sheets and films to ``images/``. Of painters that copy also what was measured on the way is kept, as
    ``METRIC@PAINTINGS`` for so many paintings made in ``rl``, from before the first of them. What is looked at on the
    way is other test pictures than those of the end, and is painted with other noise: settings may be chosen by it.

    Args:
        count: paintings of a test run.
        during: paintings after an epoch; test pictures, a quarter of them at most, that are kept for that.
        every_n_epochs: epochs between two looks.
        every_n_rewarded_epochs: the same once there are rewards; None goes on as before.
        seed: of the paintings' noise at the end.
        tries: programs of a scene, of which the nearest is taken; the search has as many renders, and ten times more.
        searched: scenes that are searched.
        searched_paintings: paintings of a test run that are also painted by tree search
            (`handgen.painter.tree_search`), as the variants ``distilled_searched`` and ``rl_searched``.
    """

    def __init__(
        self,
        count: int = 1000,
        during: int = 250,
        every_n_epochs: int = 5,
        every_n_rewarded_epochs: int | None = None,
        seed: int = 0,
        tries: int = 20,
        searched: int = 50,
        searched_paintings: int = 0,
    ) -> None:
        check_at_least(
            1,
            count=count,
            during=during,
            every_n_epochs=every_n_epochs,
            every_n_rewarded_epochs=every_n_rewarded_epochs,
            tries=tries,
            searched=searched,
        )
        check_at_least(0, searched_paintings=searched_paintings)
        self.count, self.during, self.every_n_epochs, self.seed = count, during, every_n_epochs, seed
        self.every_n_rewarded_epochs = every_n_rewarded_epochs or every_n_epochs
        self.tries, self.searched, self.searched_paintings = tries, searched, searched_paintings
        self.measurements: list[Measurement] = []
        self.points: list[dict[str, Any]] = []
        self._classifier: Classifier | None = None
        self._fits: dict[bool, Fit] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a search that could not be made, before anything is trained.

        Raises:
            UserError: if programs are scored jointly with pictures, or the engine's canvases cannot be copied.
        """
        source: Any = trainer.datamodule  # type: ignore[attr-defined]
        if self.searched_paintings and (pl_module.hparams["joint"] or source.hparams["engine"] != "torch"):
            raise UserError("searched_paintings needs model.joint=false and data.engine=torch: set it to 0")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure a few paintings, as often as asked for, when rewards are about to begin, and after the last epoch."""
        module: Any = pl_module
        source: Any = trainer.datamodule  # type: ignore[attr-defined]
        epochs = trainer.current_epoch + 1
        every = self.every_n_rewarded_epochs if module.rewarded else self.every_n_epochs
        begins = source.rewards_follow and not module.rewarded
        due = epochs % every == 0 or epochs == trainer.max_epochs or begins
        if trainer.sanity_checking or not due or not trainer.is_global_zero:
            return
        with seeded(self.seed + 1, pl_module.device):
            measured, painted = self._policy(trainer, module, module.policy, self.during, "rl", final=False)
            if module.hparams["conditional"] and (module.rewarded or begins):
                made = steps_name(source.paintings)
                copies = [m for m in measured if m.metric.startswith("recon/")]
                self.points += [{**vars(m), "metric": f"{m.metric}@{made}"} for m in copies]
            if source.truth:
                images, truth = (part(trainer, False) for part in (self._images, self._truth))
                measured += measure_scenes(module, images, truth, module.policy, "rl", (1,))
            fitted, fits = self._fitted(trainer, module, final=False)
        for measurement in (*measured, *fitted):
            name = measurement.metric if measurement.variant == "rl" else f"{measurement.metric}/{measurement.variant}"
            log_metrics(trainer, {f"eval/{name}": measurement.value})
        self._show(trainer, {**fits, "paintings": painted.finished}, f"{trainer.global_step:06d}")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure all stages, and show them."""
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        real = self._images(trainer)
        self.measurements, shown = self._fitted(trainer, module)
        shown = {"heldout": real, **shown}
        if shown.get("programs") is not None and not module.hparams["conditional"]:
            self.measurements += self._grade_pictures(trainer, module, shown)
        for variant, policy in policies(trainer, module).items():
            searches: list[tuple[str, int, Any]] = [(variant, self.count, paint_many)]
            if self.searched_paintings:
                searches.append((f"{variant}_searched", self.searched_paintings, search_many))
            for name, count, paint in searches:
                with seeded(self.seed, module.device):
                    measured, painted = self._policy(trainer, module, policy, count, name, paint)
                self.measurements += measured
                shown[name] = painted.finished
                self._film(trainer, module, painted, name)
        if trainer.datamodule.truth:  # type: ignore[attr-defined]
            self.measurements += self._scenes(trainer, module, real)
        for measurement in self.measurements:
            log_metrics(trainer, {f"eval/{measurement.metric}/{measurement.variant}": measurement.value})
        self.measurements += [Measurement(**point) for point in self.points]
        self._show(trainer, shown, "final")

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far."""
        return {"points": self.points}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.points = list(state_dict["points"])

    # Parts.

    def _policy(
        self,
        trainer: Trainer,
        module: Any,
        policy: Any,
        count: int,
        variant: str,
        paint: Any = paint_many,
        final: bool = True,
    ) -> tuple[list[Measurement], Painted]:
        """What a policy paints, by ``paint_many`` or ``search_many``, measured."""
        policy.eval()
        images = self._images(trainer, final)
        if module.hparams["conditional"]:
            images = images[:count]
            painted, blank = paint(module, len(images), images, policy), module.world().reset(1)
            measured = measure_copies(painted.finished, images, strokes_drawn(painted.actions), variant, blank)
        else:
            painted = paint(module, count, None, policy)
            measured = measure_samples(painted, self._judge(trainer), self._test(trainer, final), variant)
        fit = self._fit(trainer, module, final) if paint is paint_many else None
        if fit is not None:
            measured.append(measure_programs(module, images, fit.programs, policy, variant))
        return measured, painted

    def _film(self, trainer: Trainer, module: Any, painted: Painted, variant: str) -> None:
        """How some of the paintings were painted, stroke by stroke."""
        path = Path(trainer.default_root_dir) / "images" / f"{variant}-final.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = module.table, FILM_SIDE, module.hparams["channels"], module.engine, module.brush
        write_film(painted.actions[:FILMED], make_world(*settings), path)

    def _fit(self, trainer: Trainer, module: Any, final: bool) -> Fit | None:
        """Strokes of test pictures, where the painter learns to find any; kept once it has learnt it."""
        source: Any = trainer.datamodule  # type: ignore[attr-defined]
        if source.hparams["fit_updates"] == 0:
            return None
        learns = trainer.state.fn == "fit" and source.done <= source.hparams["fit_updates"]
        if final not in self._fits or learns:
            self._fits[final] = fit_pictures(module, self._images(trainer, final))
        return self._fits[final]

    def _fitted(self, trainer: Trainer, module: Any, final: bool = True) -> tuple[list[Measurement], dict[str, Tensor]]:
        """Strokes of test pictures, measured, and what they paint."""
        fit = self._fit(trainer, module, final)
        if fit is None:
            return [], {}
        return measure_fit(module, self._images(trainer, final), fit), {"fit": fit.painted, "programs": fit.written}

    def _scenes(self, trainer: Trainer, module: Any, image: Tensor) -> list[Measurement]:
        """How right programs of scenes are, and those of the search that learns nothing, at equal renders."""
        truth = self._truth(trainer)
        measured = []
        for variant, policy in policies(trainer, module).items():
            with seeded(self.seed, module.device):
                measured += measure_scenes(module, image, truth, policy, variant, (1, self.tries))
        length, few = module.hparams["length"], slice(self.searched)
        budgets = (self.tries * length, 10 * self.tries * length)
        return measured + measure_search(module, image[few], truth[few], budgets, self.seed)

    def _grade_pictures(self, trainer: Trainer, module: Any, shown: dict[str, Tensor]) -> list[Measurement]:
        """Real pictures and fitted programs in the eyes of the classifier: what a painter can reach."""
        judge = self._judge(trainer)
        if judge is None:
            return []
        real = self._test(trainer)
        half = len(real) // 2
        measured = grade_pictures(real[:half].float() / 255, judge, real[half:], "heldout")
        return measured + grade_pictures(shown["programs"].cpu(), judge, real, "programs")

    def _judge(self, trainer: Trainer) -> Classifier | None:
        """A classifier of the training pictures, where these have classes."""
        train = trainer.datamodule.pictures["train"]  # type: ignore[attr-defined]
        if self._classifier is None and train.classes > 1:
            # In random numbers of its own: whether it is remembered, read or learnt changes nothing else.
            with seeded(self.seed, torch.device("cpu")), torch.inference_mode(False), torch.enable_grad():
                self._classifier = real_classifier(train.images, train.labels, train.classes)
        return self._classifier

    def _rows(self, trainer: Trainer, final: bool) -> slice:
        """Which test pictures are of the end, and which are looked at before."""
        count = len(trainer.datamodule.pictures["test"])  # type: ignore[attr-defined]
        kept = count - min(self.during, max(1, count // 4))
        return slice(0, kept) if final else slice(kept, count)

    def _test(self, trainer: Trainer, final: bool = True) -> Tensor:
        """Test pictures, uint8 (N, C, H, W)."""
        images: Tensor = trainer.datamodule.pictures["test"].images  # type: ignore[attr-defined]
        return images[self._rows(trainer, final)]

    def _images(self, trainer: Trainer, final: bool = True) -> Tensor:
        """Those that are measured, float (N, C, H, W) in [0, 1]."""
        return self._test(trainer, final)[: self.count].to(trainer.lightning_module.device).float() / 255

    def _truth(self, trainer: Trainer, final: bool = True) -> Tensor:
        """The programs of scenes (N, T, K)."""
        programs: Tensor = trainer.datamodule.truth["test"]  # type: ignore[attr-defined]
        return programs[self._rows(trainer, final)][: self.count]

    def _show(self, trainer: Trainer, shown: dict[str, Tensor], when: str) -> None:
        """A sheet of each."""
        for name, images in shown.items():
            path = Path(trainer.default_root_dir) / "images" / f"{name}-{when}.png"
            log_image(trainer, f"images/{name}", make_grid(enlarged(images[:SHOWN].cpu())), path)


def policies(trainer: Trainer, module: Any) -> dict[str, Any]:
    """A painter's policies by the stage that they come from: those alone that have learnt in theirs."""
    distilled = trainer.datamodule.hparams["distill_updates"] > 0  # type: ignore[attr-defined]
    if not module.rewarded:
        return {"distilled": module.policy} if distilled else {}
    return {"distilled": module.distilled, "rl": module.policy} if distilled else {"rl": module.policy}


def enlarged(images: Tensor) -> Tensor:
    """Small pictures (N, C, H, W) in colour, at least 64 pixels wide, pixels as squares."""
    factor = max(1, LARGEST_SHOWN // images.shape[-1])
    return F.interpolate(images, scale_factor=factor, mode="nearest").expand(-1, 3, -1, -1)
