"""``handgen leaderboard``: hands made by every method here, judged by the same judges on as many samples of each.

Each method draws its samples by ``handgen sample``, as anyone would. Methods that copy, the painter and the arm, copy
hands that they have not seen. A judge that has rewarded any of the methods has no say in the headline rate of all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from handgen.anatomy.evaluation import HELD_OUT, Cost, evaluate_variant, judge_images, prepare_reference, shuffled
from handgen.anatomy.sheets import methods_sheet
from handgen.errors import UserError, check_at_least
from handgen.experiment import experiment_name, find_config
from handgen.images import read_picture
from handgen.programs import HANDGEN, run_program
from handgen.results import Measurement, Record, write_json
from handgen.runs import newest_run, run_date
from handgen.sampling import FIGURES

SIZE = 64
"""Height and width in pixels that all samples are judged at; those of the arm are smaller."""
SHOWN = 8
"""Samples of each method on the sheet."""


@dataclass(frozen=True)
class Entry:
    """A way to make hands.

    Attributes:
        name: in the table.
        experiment: whose newest run draws.
        sampler: of that run.
    """

    name: str
    experiment: str
    sampler: str


ENTRIES = (
    Entry("VAE, N(0, I)", "vae", "prior"),
    Entry("VAE, second stage", "vae", "second_stage"),
    Entry("VAE tuned by the fall of its loss", "vae_sac_loss", "prior"),
    Entry("VAE tuned by SAC", "vae_sac", "tuner"),
    Entry("painter, copies in 20 strokes", "spiral_hands", "rl"),
    Entry("arm, imitations", "arm_sac", "rl"),
)
"""In the order of the table."""


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code.

    Raises:
        UserError: if no method has been trained.
    """
    parser = argparse.ArgumentParser("handgen leaderboard", description="Judge the hands of every method alike.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    parser.add_argument("--seed", type=int, default=0, help="of the runs, and of the samples")
    parser.add_argument("--count", type=int, default=1000, help="samples of each method")
    options = parser.parse_args(list(words))
    check_at_least(SHOWN, count=options.count)
    folder = options.runs / "leaderboard" / f"{run_date()}-seed{options.seed}"
    trained = [entry for entry in ENTRIES if has_run(entry, options.runs, options.seed)]
    for entry in (entry for entry in ENTRIES if entry not in trained):
        print(f"{entry.name}: not trained (make train EXP={entry.experiment})")
    if not trained:
        raise UserError(f"no method has a run with seed {options.seed} under {options.runs}: train one first")
    rewarded = {judge for entry in trained for judge in rewarded_judges(entry, options.runs, options.seed)}
    judging, measurements = Judging(options.count, tuple(sorted(rewarded))), list[Measurement]()
    shown = {}
    for entry in trained:
        try:
            images, seconds = draw(entry, options.runs, options.seed, options.count, folder)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        measurements += judging.measure(entry.name, images, Cost(seconds, len(images)))
        shown[entry.name] = judging.looked_at(images[:SHOWN])
        print(f"{entry.name}: {told(measurements, entry.name)}")
    if not measurements:
        return 1
    measurements += judging.ceiling()
    print(f"{HELD_OUT}: {told(measurements, HELD_OUT)}")
    shown["held-out hands, as they are"] = judging.looked_at(judging.held_out[:SHOWN])
    methods_sheet(shown, "Hands by every method, unselected").save(folder / "hands.png")
    path = folder / "result.json"
    command = " ".join(["handgen leaderboard", *words])
    shared: dict[str, Any] = {"experiment": "leaderboard", "seeds": [options.seed], "command": command}
    write_json(path, [Record(**{**asdict(m), "dataset": "synthetic"}, **shared) for m in measurements])
    print(f"figures: {path} (make report RUNS={folder} adds them to the tables)")
    return 0


def run_of(entry: Entry, runs: Path, seed: int) -> Path | None:
    """The run that draws a method's samples."""
    return newest_run(runs, experiment_name(find_config(entry.experiment)), seed)


def has_run(entry: Entry, runs: Path, seed: int) -> bool:
    """Whether a method has been trained to its end."""
    folder = run_of(entry, runs, seed)
    return folder is not None and (folder / "result.json").is_file()


def rewarded_judges(entry: Entry, runs: Path, seed: int) -> tuple[str, ...]:
    """Judges that have rewarded a method, by the settings of its run."""
    folder = run_of(entry, runs, seed)
    assert folder is not None
    said = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    judge = said["model"].get("init_args", {}).get("rewarded")
    return (str(judge),) if judge else ()


class Judging:
    """The judges and the real hands, looked at once.

    Args:
        count: samples of each method, and real hands that they are compared with.
        rewarded: judges that have rewarded any of the methods.
    """

    def __init__(self, count: int, rewarded: tuple[str, ...] = ()) -> None:
        from handgen.anatomy.judges import load_judges
        from handgen.datamodules.hands import HandsDataModule

        data = HandsDataModule(dataset="synthetic", image_size=SIZE)
        data.prepare_data()
        data.setup("test")
        self.judges, self.rewarded = load_judges(), rewarded
        test = data.images("test")
        self.held_out = test[shuffled(len(test))[:count]]
        self.reference = prepare_reference(data.images("train"), test, self.judges, count)

    def measure(self, name: str, images: Tensor, cost: Cost | None = None) -> list[Measurement]:
        """All figures of uint8 images (N, 3, H, W)."""
        return evaluate_variant(name, images, self.reference, self.judges, self.rewarded, cost)

    def looked_at(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Images for a sheet, and every judge's verdicts on them."""
        return images, judge_images(images, self.judges)

    def ceiling(self) -> list[Measurement]:
        """Those of held-out real hands."""
        return self.measure(HELD_OUT, self.held_out)


def draw(entry: Entry, runs: Path, seed: int, count: int, folder: Path) -> tuple[Tensor, float]:
    """Samples of a method, uint8 (N, 3, `SIZE`, `SIZE`), and the seconds that drawing them took.

    Raises:
        UserError: if it draws none.
    """
    out = folder / entry.name.replace(" ", "_").replace(",", "").replace("(", "").replace(")", "")
    words = [*HANDGEN, "sample", f"--config={entry.experiment}", f"--runs={runs}"]
    words += [f"--seed_everything={seed}", f"--count={count}", f"--sampler={entry.sampler}", f"--out={out}"]
    run_program(words, f"{entry.name} draws nothing")
    images = torch.stack([read_picture(path, SIZE) for path in sorted(out.glob("sample-*.png"))])
    return images, float(json.loads((out / FIGURES).read_text(encoding="utf-8"))["seconds"])


def told(measurements: Sequence[Measurement], name: str) -> str:
    """The main figures of a method, in one line."""
    found = {m.metric: m for m in measurements if m.variant == name}
    rate = found["valid_rate/strictest"]
    line = f"valid {100 * rate.value:.1f}% of {rate.n}, coverage {found['coverage'].value:.2f}"
    return line + f", KID {1000 * found['kid'].value:.0f}e-3, sharpness {found['sharpness'].value:.2f}"
