"""``handgen demo``: one small result of each method in a few minutes, and a page of their pictures.

The presets in ``experiments/demo`` are trained two at a time; none of them is long enough to be good.
"""

from __future__ import annotations

import argparse
import base64
import html
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from handgen.errors import UserError
from handgen.processes import usable_cores
from handgen.programs import HANDGEN, run_program
from handgen.whole_files import whole_file

AT_A_TIME = 2
KINDS = {".png": "image/png", ".gif": "image/gif"}
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>handgen in a few minutes</title><style>'
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%;max-height:26rem;margin:.5rem 1rem .5rem 0;image-rendering:pixelated;border:1px solid #ddd}"
    "</style><h1>handgen in a few minutes</h1>"
)


@dataclass(frozen=True)
class Part:
    """A method.

    Attributes:
        title: heading on the page.
        said: what is seen, and what takes longer.
        preset: of ``experiments/demo``.
        pictures: what is shown of the run folder; of several that match, the newest.
        after: a further command on the trained run, words after ``--config``.
        needs: the part from whose run this one starts.
    """

    title: str
    said: str
    preset: str
    pictures: tuple[str, ...]
    after: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a part: the error in one line, empty if there was none, and its seconds."""

    failure: str
    seconds: float


PARTS = (
    Part(
        "A VAE",
        "Hands decoded from N(0, I), which a VAE does not fill, and from a mixture fitted to encoded hands.",
        "demo/vae",
        ("images/samples-prior-*.png", "images/samples-gmm-*.png"),
    ),
    Part(
        "An agent that tunes its latents",
        "The same decoder, after soft actor-critic has moved the latents, rewarded by a judge of anatomy.",
        "demo/vae_sac",
        ("images/samples-tuner-*.png",),
        needs="demo/vae",
    ),
    Part(
        "Keypoints of a cart-pole",
        "Found without labels in 200 random decisions. The agent that sees them has only begun to learn.",
        "demo/sac_imm",
        ("videos/episode.gif",),
    ),
    Part(
        "A painter of digits",
        "Programs of brush strokes, learnt from fitted strokes and then from a discriminator.",
        "demo/spiral_digits",
        ("samples/sheet.png", "samples/*.gif"),
        ("sample", "--count=36"),
    ),
    Part(
        "A robot hand that imitates",
        "What it is shown, what it does, and both on top of each other.",
        "demo/arm_sac",
        ("videos/synthetic.gif",),
        ("video", "--feed=synthetic", "--count=8"),
    ),
)


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code: 1 if a part failed, of which the page says so.

    Raises:
        UserError: if a part is unknown.
    """
    parser = argparse.ArgumentParser("handgen demo", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(part.preset for part in PARTS)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs", "demo.html"), help="the page")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    options = parser.parse_args(list(words))
    known = {part.preset: part for part in PARTS}
    for name in options.parts:
        if name not in known:
            raise UserError(f"the demo has no part {name!r}: known are {', '.join(known)}")
    chosen = [known[name] for name in options.parts] or list(PARTS)
    start = time.monotonic()
    outcomes = train_all(chosen, options.runs)
    with whole_file(options.out) as partial:
        partial.write_text(page(chosen, outcomes, options.runs), encoding="utf-8")
    print(f"{time.monotonic() - start:.0f} s in all; open {options.out}")
    return int(any(outcome.failure for outcome in outcomes))


def train_all(parts: Sequence[Part], runs: Path) -> list[Outcome]:
    """Train parts two at a time, those that start from another's run after it."""
    running: dict[str, Future[Outcome]] = {}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        # What is waited for has begun before: none that waits can keep it from beginning.
        for part in sorted(parts, key=lambda part: bool(part.needs)):
            running[part.preset] = pool.submit(train, part, runs, running.get(part.needs))
        return [running[part.preset].result() for part in parts]


def train(part: Part, runs: Path, before: Future[Outcome] | None = None) -> Outcome:
    """Train a part, and run what comes after, once the part that it needs is done."""
    if before is not None:
        before.result()
    print(f"{part.title} ({part.preset}) ...", flush=True)
    began = time.monotonic()
    failure = run_steps(part, runs)
    seconds = time.monotonic() - began
    print(f"  {part.preset}: {failure or f'{seconds:.0f} s'}", flush=True)
    return Outcome(failure, seconds)


def run_steps(part: Part, runs: Path) -> str:
    """Run the commands of a part; returns the error, if any, in one line."""
    shared = [f"--config={part.preset}", f"--runs={runs}"]
    steps = [[*HANDGEN, "fit", *shared], *([[*HANDGEN, part.after[0], *shared, *part.after[1:]]] if part.after else [])]
    threads = str(max(1, usable_cores() // AT_A_TIME))
    try:
        for step in steps:
            run_program(step, "error", {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": threads, **os.environ})
    except UserError as error:
        return str(error)
    return ""


def page(parts: Sequence[Part], outcomes: Sequence[Outcome], runs: Path) -> str:
    """The page, with its pictures in it.

    Args:
        parts: in the order of the page.
        outcomes: what became of each.
        runs: folder of the run folders.
    """
    text = [HEAD]
    for part, outcome in zip(parts, outcomes, strict=True):
        text.append(f"<h2>{html.escape(part.title)}</h2><p>{html.escape(part.said)}</p>")
        if outcome.failure:
            text.append(f"<p><b>{html.escape(outcome.failure)}</b></p>")
            continue
        text += [image(path) for path in found(part, runs)]
        command = f"python -m handgen fit --config={part.preset}"
        longer = f"make train EXP={part.preset.partition('/')[2]}"
        text.append(
            f"<p><small>{outcome.seconds:.0f} s: <code>{command}</code>; at full length: <code>{longer}</code></small>"
        )
    return "\n".join([*text, "</html>"])


def found(part: Part, runs: Path) -> list[Path]:
    """The newest picture of each kind in the part's newest run."""
    folders = sorted((runs / part.preset).glob("*"), key=lambda path: path.stat().st_mtime)
    matches = (sorted(folders[-1].glob(pattern), key=lambda path: path.stat().st_mtime) for pattern in part.pictures)
    return [pictures[-1] for pictures in matches if pictures]


def image(path: Path) -> str:
    """A picture as HTML, with its bytes in it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:{KINDS[path.suffix]};base64,{data}">'
