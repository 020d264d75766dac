"""``handgen demo``: one small result of each method in about three minutes, and a page of their pictures.

The presets in ``experiments/demo`` are trained one after the other; none of them is long enough to be good.
"""

from __future__ import annotations

import argparse
import base64
import html
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handgen.errors import UserError
from handgen.whole_files import whole_file

KINDS = {".png": "image/png", ".gif": "image/gif"}
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>handgen in three minutes</title><style>'
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%;max-height:26rem;margin:.5rem 1rem .5rem 0;image-rendering:pixelated;border:1px solid #ddd}"
    "</style><h1>handgen in three minutes</h1>"
)


@dataclass(frozen=True)
class Part:
    """A method.

    Attributes:
        title: heading on the page.
        said: what is seen, and what takes longer.
        preset: of ``experiments/demo``.
        after: a further command on the trained run, words after ``--config``.
        pictures: what is shown of the run folder; of several that match, the newest.
    """

    title: str
    said: str
    preset: str
    pictures: tuple[str, ...]
    after: tuple[str, ...] = ()


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
    sections, start = [], time.monotonic()
    for number, part in enumerate(chosen, 1):
        print(f"{number} of {len(chosen)}: {part.title} ({part.preset}) ...", flush=True)
        began = time.monotonic()
        failure = train(part, options.runs)
        print(f"  {failure or f'{time.monotonic() - began:.0f} s'}", flush=True)
        sections.append((part, failure, time.monotonic() - began))
    with whole_file(options.out) as partial:
        partial.write_text(page(sections, options.runs), encoding="utf-8")
    print(f"{time.monotonic() - start:.0f} s in all; open {options.out}")
    return int(any(failure for _, failure, _ in sections))


def train(part: Part, runs: Path) -> str:
    """Train a part and run what comes after; returns the error, if any, in one line."""
    command = [sys.executable, "-m", "handgen"]
    shared = [f"--config={part.preset}", f"--runs={runs}"]
    steps = [[*command, "fit", *shared], *([[*command, part.after[0], *shared, *part.after[1:]]] if part.after else [])]
    for step in steps:
        done = subprocess.run(step, env={"WANDB_MODE": "disabled", **os.environ}, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return said[-1] if said else f"failed with exit code {done.returncode}"
    return ""


def page(sections: Sequence[tuple[Part, str, float]], runs: Path) -> str:
    """The page, with its pictures in it.

    Args:
        sections: parts, what went wrong with each, and its seconds.
        runs: folder of the run folders.
    """
    parts = [HEAD]
    for part, failure, seconds in sections:
        parts.append(f"<h2>{html.escape(part.title)}</h2><p>{html.escape(part.said)}</p>")
        if failure:
            parts.append(f"<p><b>{html.escape(failure)}</b></p>")
            continue
        parts += [image(path) for path in found(part, runs)]
        command = f"python -m handgen fit --config={part.preset}"
        longer = f"make train EXP={part.preset.partition('/')[2]}"
        parts.append(
            f"<p><small>{seconds:.0f} s: <code>{command}</code>; at full length: <code>{longer}</code></small>"
        )
    return "\n".join([*parts, "</html>"])


def found(part: Part, runs: Path) -> list[Path]:
    """The newest picture of each kind in the part's newest run."""
    folders = sorted((runs / part.preset).glob("*"), key=lambda path: path.stat().st_mtime)
    matches = (sorted(folders[-1].glob(pattern), key=lambda path: path.stat().st_mtime) for pattern in part.pictures)
    return [pictures[-1] for pictures in matches if pictures]


def image(path: Path) -> str:
    """A picture as HTML, with its bytes in it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:{KINDS[path.suffix]};base64,{data}">'
