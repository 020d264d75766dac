"""What a tuner has made of the latents it was given: a table of two rows, and a sheet of pairs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.callbacks.hand_evaluation import HandEvaluation
from handgen.callbacks.image_log import log_image
from handgen.images import make_grid
from handgen.results import Measurement

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = {
    "valid_rate/strictest": "valid",
    "valid_rate/judge_a": "judge A (gave reward)",
    "valid_rate/judge_b": "judge B",
    "valid_rate/geometric": "geometric",
    "coverage": "coverage",
    "decoder_calls_per_valid": "decoder calls per valid hand",
}


class BeforeAfter(Callback):
    """Prints the start's figures above the tuner's, and writes ``before_after.png`` when a test run ends.

    The sheet shows unselected latents twice: a row as they were drawn, and below it the same ones tuned. It belongs
    after `HandEvaluation`, whose measurements it repeats, in the list of callbacks.

    Args:
        count: pairs on the sheet.
        after: name of the tuned sampler.
        seed: of the latents.
    """

    def __init__(self, count: int = 20, after: str = "tuner", seed: int = 0) -> None:
        self.count, self.after, self.seed = count, after, seed

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and print, on rank 0 alone."""
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        before = module.hparams["start"]
        with torch.inference_mode(False), torch.no_grad():
            sheet = self.sheet(module)
        log_image(trainer, "eval/before_after", sheet, Path(trainer.default_root_dir) / "before_after.png")
        for item in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(item, HandEvaluation) and item.measurements:
                _print(before_after_table(item.measurements, before, self.after))

    def sheet(self, module: Any) -> Any:
        """Pairs in rows of ten: drawn, and below that tuned; uint8 (H, W, 3)."""
        drawn = module.start_sampler.sample(self.count, torch.Generator().manual_seed(self.seed))
        start = module.reward.standardise(drawn.to(module.device))
        images = [module.decode(module.reward.to_latent(latent)) for latent in (start, module.move(start))]
        rows = [part for pair in zip(*(torch.split(image, 10) for image in images), strict=True) for part in pair]
        return make_grid(torch.cat(rows), columns=min(10, self.count))


def before_after_table(measurements: Collection[Measurement], before: str, after: str) -> Table:
    """The two rows that matter.

    Args:
        measurements: of a test run.
        before: variant that the tuner starts from.
        after: variant of the tuner.
    """
    from rich.table import Table

    found = {(m.variant, m.metric): m for m in measurements}
    table = Table(title="before and after tuning", caption="valid: by the strictest judge that gave no reward, 95%")
    table.add_column("latents")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right")
    for label, variant in (("before", before), ("after", after)):
        cells = [_cell(found.get((variant, metric))) for metric in COLUMNS]
        table.add_row(f"{label} ({variant})", *cells)
    return table


def _cell(measured: Measurement | None) -> str:
    """A figure with its interval."""
    if measured is None:
        return "-"
    if measured.low is None or measured.high is None:
        return f"{measured.value:.3f}"
    return f"{measured.value:.3f} [{measured.low:.3f}, {measured.high:.3f}]"


def _print(table: Table) -> None:
    """Prints the table, wide enough for a log file too."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
