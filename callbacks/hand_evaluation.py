"""Grades a model's hands at the end of a test run: figures with intervals, and sheets to look at."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from handgen.anatomy.evaluation import (
    HELD_OUT,
    Cost,
    Judge,
    Reference,
    evaluate_variant,
    features,
    judge_images,
    prepare_reference,
    shuffled,
)
from handgen.anatomy.judges import load_judges
from handgen.anatomy.metrics import nearest_neighbours
from handgen.anatomy.sheets import contact_sheet, neighbour_sheet
from handgen.errors import UserError
from handgen.loggers import log_metrics
from handgen.results import Measurement

if TYPE_CHECKING:
    from rich.table import Table

RECONSTRUCTION = "reconstruction"
SHOWN = 20
_BATCH = 250
# Metric, heading, factor: the columns of the printed table.
_COLUMNS = (
    ("valid_rate/judge_a", "A %", 100.0),
    ("valid_rate/judge_b", "B %", 100.0),
    ("valid_rate/geometric", "geom. %", 100.0),
    ("coverage", "coverage", 1.0),
    ("density", "density", 1.0),
    ("kid", "KID x1000", 1000.0),
    ("novelty", "novelty", 1.0),
    ("sharpness", "sharpness", 1.0),
    ("skin", "skin %", 100.0),
    ("orientation", "upright %", 100.0),
)


@dataclass(frozen=True)
class Drawn:
    """Images of one variant.

    Attributes:
        images: Uint8 (N, 3, H, W) on the CPU.
        cost: What they cost to draw; None for images that are not drawn.
    """

    images: Tensor
    cost: Cost | None = None


class HandEvaluation(Callback):
    """Draws hands from every sampler of a model when a test run ends, and grades them.

    Besides the samplers it grades two ceilings: "heldout" (the test images themselves) and "reconstruction"
    (the model's reconstructions of them). The figures go to `measurements`, from which `ResultWriter` makes
    `result.json`, and to the loggers as `eval/METRIC/VARIANT`; `contact_sheet_VARIANT.png` and
    `neighbours_VARIANT.png` go to the run folder, a table to the terminal.

    The model needs `samplers(train_images, names)`, `decode(latent)` and `reconstruct(image)`; the datamodule
    `images(split)`. A sampler that decodes images on its own counts them in an attribute `decoder_calls`. The headline
    rate leaves out the judges that a model names as its `rewarded_judges`.

    Args:
        samples: Number of hands per variant; below 400 the 95% interval of a rate is 10 points wide.
        samplers: Names of the samplers to grade; null takes all.
        seed: Seed of the drawing.
    """

    def __init__(
        self,
        samples: int = 1000,
        samplers: list[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.samplers = samplers
        self.seed = seed
        self.measurements: list[Measurement] = []

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, grade, print, log and write, on rank 0 alone.

        Raises:
            UserError: If there is no datamodule with images, or an unknown sampler is asked for.
        """
        if not trainer.is_global_zero:
            return
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(datamodule, "images"):
            raise UserError("HandEvaluation needs a datamodule with images(split), such as HandsDataModule")
        train, test = datamodule.images("train"), datamodule.images("test")
        # Lightning tests in inference mode, in which a second-stage sampler could not be trained.
        with torch.inference_mode(False):
            drawn = self._draw(pl_module, train, test)
            self._grade(trainer, pl_module, drawn, train, test)
        if not self.measurements:
            return
        _print_table(self.measurements, str(getattr(datamodule, "dataset", "")))
        values = {f"eval/{m.metric}/{m.variant}": m.value for m in self.measurements}
        log_metrics(trainer, values)

    def _draw(self, module: Any, train: Tensor, test: Tensor) -> dict[str, Drawn]:
        """Images of every variant: the samplers in the model's order, then the two ceilings."""
        with torch.enable_grad():
            # Only those asked for: fitting a second stage takes a while.
            available = module.samplers(train, *([self.samplers] if self.samplers is not None else []))
        unknown = sorted(set(self.samplers or ()) - set(available))
        if unknown:
            raise UserError(f"unknown samplers {unknown}: this model has {sorted(available)}")
        drawn = {}
        for name in available if self.samplers is None else self.samplers:
            drawn[name] = self._sample(module, available[name])
        held_out = test[shuffled(len(test))[: self.samples]]
        drawn[RECONSTRUCTION] = Drawn(_reconstruct(module, held_out))
        drawn[HELD_OUT] = Drawn(held_out)
        return drawn

    def _sample(self, module: Any, sampler: Any) -> Drawn:
        """Images of one sampler, with their cost; fitting the sampler is not part of it."""
        generator = torch.Generator().manual_seed(self.seed)
        before, start = getattr(sampler, "decoder_calls", 0), time.perf_counter()
        with torch.no_grad():
            latents = sampler.sample(self.samples, generator).to(module.device)
            images = torch.cat([_to_uint8(module.decode(part)) for part in torch.split(latents, _BATCH)])
        seconds = time.perf_counter() - start
        return Drawn(images, Cost(seconds, len(images) + getattr(sampler, "decoder_calls", 0) - before))

    def _grade(
        self,
        trainer: Trainer,
        module: LightningModule,
        drawn: Mapping[str, Drawn],
        train: Tensor,
        test: Tensor,
    ) -> None:
        """Measures and draws the sheets of every variant."""
        judges = load_judges()
        for judge in judges.values():
            if isinstance(judge, torch.nn.Module):
                judge.to(module.device).eval()
        reference = prepare_reference(train, test, judges, self.samples)
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.measurements = []
        rendered = getattr(trainer.datamodule, "dataset", "synthetic") == "synthetic"  # type: ignore[attr-defined]
        rewarded = tuple(getattr(module, "rewarded_judges", ()))
        for name, item in drawn.items():
            measured = evaluate_variant(name, item.images, reference, judges, rewarded, item.cost, corrected=rendered)
            self.measurements += measured
            pages = write_sheets(folder, name, item.images[:SHOWN], reference, train, judges, measured)
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    for page in pages:  # one key each: wandb wants the images of one key to be of one size
                        logger.log_image(f"eval/sheets/{page.stem}", [str(page)])


def write_sheets(
    folder: Path,
    variant: str,
    images: Tensor,
    reference: Reference,
    train: Tensor,
    judges: Mapping[str, Judge],
    measured: Collection[Measurement],
) -> list[Path]:
    """Writes the contact sheet and the nearest-neighbour sheet of one variant.

    Args:
        folder: Where the pages go.
        variant: Name of the variant.
        images: Uint8 (N, 3, H, W), the first N drawn.
        reference: The measured real images.
        train: Uint8 training images, in the order of `reference.train_features`.
        judges: Judges by name.
        measured: The variant's figures, for the line below the title.

    Returns:
        The two files.
    """
    found = {m.metric: m for m in measured}
    rate = found["valid_rate/strictest"]
    note = f"valid by the strictest judge: {_percent(rate)} of {rate.n}"
    title = f"{variant}: the first {len(images)} of {rate.n} images, not selected"
    contact = folder / f"contact_sheet_{variant}.png"
    contact_sheet(images, judge_images(images, judges), title, [note]).save(contact)
    distances, indices = nearest_neighbours(features(images, judges), reference.train_features)
    scale = reference.held_out_distances.median().clamp_min(1e-12)
    note = "distance by judge_b's features, 1 = median of held-out images"
    neighbours = folder / f"neighbours_{variant}.png"
    title = f"{title}, above their nearest training images"
    neighbour_sheet(images, train[indices], distances / scale, title, [note]).save(neighbours)
    return [contact, neighbours]


def summary_table(measurements: Collection[Measurement], dataset: str) -> "Table":
    """Table of the main figures, one row per variant: the samplers first, the ceilings last.

    Args:
        measurements: From a test run.
        dataset: Name of the data set, for the title.

    Returns:
        A rich table.
    """
    from rich.table import Table

    found = {(m.variant, m.metric): m for m in measurements}
    table = Table(title=f"hands from {dataset or 'this model'}, graded", caption=_CAPTION, caption_justify="left")
    table.add_column("images")
    table.add_column("valid % (95%)", justify="right", style="bold")
    for _, heading, _ in _COLUMNS:
        table.add_column(heading, justify="right")
    for variant in dict.fromkeys(m.variant for m in measurements):
        if variant == RECONSTRUCTION:
            table.add_section()
        cells = [_percent(found[variant, "valid_rate/strictest"])]
        for metric, _, factor in _COLUMNS:
            m = found.get((variant, metric))
            cells.append("-" if m is None else f"{factor * m.value:.{0 if factor == 100 else 2}f}")
        table.add_row(variant, *cells)
    return table


_CAPTION = (
    "valid: by the strictest judge that gave no reward. Right is: coverage, density, novelty and "
    "sharpness near 1, KID near 0. 'heldout' are the test images (training images stand in for the "
    "distances): the ceiling."
)


def _print_table(measurements: Collection[Measurement], dataset: str) -> None:
    """Prints the table, wide enough for a log file too."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=160)).print(summary_table(measurements, dataset))


def _percent(rate: Measurement) -> str:
    """A rate with its interval, in per cent."""
    low, high = rate.low or 0.0, 1.0 if rate.high is None else rate.high
    return f"{100 * rate.value:.0f}% ({100 * low:.0f} to {100 * high:.0f}%)"


def _reconstruct(module: Any, images: Tensor) -> Tensor:
    """Reconstructions of uint8 images, uint8."""
    with torch.no_grad():
        parts = [module.reconstruct(part.to(module.device).float() / 255) for part in torch.split(images, _BATCH)]
    return torch.cat([_to_uint8(part) for part in parts])


def _to_uint8(image: Tensor) -> Tensor:
    """Float images in [0, 1] to uint8 on the CPU, as real images are kept."""
    return (image.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
