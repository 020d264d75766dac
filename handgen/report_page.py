"""``docs/report.html``: every method on one page, from records and pictures, readable without a network.

The page refers to the pictures in ``docs/images`` and to nothing else.
"""

from __future__ import annotations

import html
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from handgen.errors import UserError
from handgen.interquartile import bootstrap_interval, interquartile_mean
from handgen.programs import run_program
from handgen.report import ABSENT, FOLDED, number, render, rows_of
from handgen.report_tables import TABLES, Table
from handgen.results import Record

LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)")
CODE = re.compile(r"`([^`]+)`")
FEWEST_SEEDS = 3
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
WINDOW = (1200, 1600)
"""Width and height of the picture of the page, in pixels of the browser."""
MIDDLES = "interquartile means over seeds, which one lucky or broken seed does not move (bootstrap intervals)"


@dataclass(frozen=True)
class Section:
    """A method.

    Attributes:
        title: heading.
        said: what it is, and what came of it in words that no record can change.
        commands: that make it.
        pictures: file in ``docs/images`` and caption.
        tables: names in `handgen.report_tables.TABLES`.
    """

    title: str
    said: str
    commands: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...] = ()
    tables: tuple[str, ...] = ()


SECTIONS = (
    Section(
        "A VAE, and a VAE tuned by reinforcement learning",
        "A soft actor-critic agent moves latents before a frozen decoder. One judge rewards it, others grade.",
        ("make train EXP=vae_sac", "make train EXP=vae_hands11k"),
        (
            (
                "vae_sac_before_after.png",
                "Unselected latents as drawn (rows one and three), below each the same, tuned.",
            ),
            ("vae_sac_ladder.png", "How often the strictest judge accepts a sample, by the way latents are chosen."),
            ("vae_sac_hands11k_ladder.png", "The same on photographs."),
            ("vae_contact_sheet_second_stage.png", "Unselected samples of the plain VAE, with the judges' verdicts."),
        ),
        ("headline",),
    ),
    Section(
        "From pixels to keypoints to control",
        "Cart-pole swing-up through a camera. Keypoints are learnt first, from random decisions.",
        ("make train EXP=sac_imm", "make train EXP=sac_ae", "make train EXP=imm"),
        (
            (
                "pixels_returns.png",
                "Returns of the mean action over environment steps; dots are seeds, stars are published.",
            ),
            ("pixels_remedies.png", "From the original to ours, a remedy at a time."),
            ("sac_imm_swing_up.gif", "One episode, with the keypoints that the agent sees."),
            ("imm_keypoints.png", "Keypoints of cart-pole frames: source, target, points, redrawn."),
            ("imm_hands.png", "Keypoints of hands, learnt without labels."),
        ),
        ("pixels", "remedies", "imm", "imm_hands"),
    ),
    Section(
        "A painter that writes programs",
        "A policy writes programs of brush strokes; a discriminator's score is its reward.",
        ("make train EXP=spiral_mnist", "make train EXP=spiral_mnist_recon", "make train EXP=spiral_scenes"),
        (
            ("spiral_mnist_rl.png", "Digits, unselected, painted with no picture to copy."),
            ("spiral_hands_heldout.png", "Hands that the painter has never seen,"),
            ("spiral_hands_rl.png", "and its copies of them in at most twenty strokes, unselected."),
            ("spiral_scenes_heldout.png", "Scenes of solid objects that the painter has never seen,"),
            ("spiral_scenes_rl.png", "and its programs for them, drawn."),
            ("spiral_rewards.png", "Error of copies: rewarded by the error itself, and by a discriminator."),
        ),
        ("painters", "copies", "scenes"),
    ),
    Section(
        "The arm that imitates a hand",
        "A robot hand of twelve joints takes the pose of a hand that it is shown, in PyBullet.",
        ("make train EXP=arm_sac", "make train EXP=arm_sac_photographs", "make train EXP=arm_actor_critic"),
        (
            (
                "arm_sac_photographs_sign_digits_rl.png",
                "Photographs of unseen hands: target, arm, and both silhouettes over each other.",
            ),
            ("arm_sac_photographs_hands11k_rl.png", "The same on 11k Hands, unseen people."),
            ("arm_sac_photographs_synthetic_rl.png", "The same on built-in hands."),
            ("arm_curves.png", "Share of the pixels that differ over updates."),
            ("arm_following.gif", "The arm follows a sequence."),
        ),
        ("arms",),
    ),
    Section(
        "The same hand by every method",
        "Hands drawn by each method that can, seen by the same judges; a judge that rewarded any of them has no say.",
        ("make leaderboard",),
        (("leaderboard_hands.png", "Unselected hands of every method, a row each, with the judges' verdicts."),),
        ("leaderboard",),
    ),
    Section(
        "The agent that they share",
        "Soft actor-critic, beside a trusted peer at the same budget, and with each printed equation of the original.",
        ("make train EXP=sac_pendulum",),
        (("sac_peer.png", "Ours and Stable-Baselines3."), ("sac_deviations.png", "What each printed equation does.")),
        ("sac", "sac_deviations"),
    ),
    Section(
        "Speed", "Side by side in one run with a plain statement of the same work.", ("make bench",), (), ("bench",)
    ),
)
"""In the order of the page; what has no records or pictures yet is left out."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #777; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
table { border-collapse: collapse; font-size: .85rem; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
td:first-child { white-space: normal; min-width: 7rem; }
figure { margin: 1.5rem 0; } img { max-width: 100%; background: #fff; }
figcaption, .note { color: var(--quiet); font-size: .85rem; }
code { font-size: .9em; } pre { padding: .6rem .8rem; border: 1px solid var(--line); overflow-x: auto; }
nav a { margin-right: 1rem; }
"""


def write_page(records: Sequence[Record], root: Path) -> Path | None:
    """Write the page.

    Args:
        records: all committed records.
        root: root of the checkout.

    Returns:
        The file, or None if it was right already.
    """
    folder = root / "docs"
    parts = {section.title: _section(section, records, folder / "images") for section in SECTIONS}
    sections = {title: part for title, part in parts.items() if part}
    nav = " ".join(f'<a href="#{_anchor(title)}">{html.escape(title)}</a>' for title in sections)
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>handgen: results</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>handgen: results</h1>\n"
        "<p>Made by <code>make report</code> from <code>experiments/results</code>. Figures are means over seeds with "
        "95% intervals; the lines below each table say what was run, how long it took, on what machine, at which "
        f"commit.</p>\n<nav>{nav}</nav>\n" + "\n".join(sections.values()) + "\n</body></html>\n"
    )
    path = folder / "report.html"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return None
    path.write_text(text, encoding="utf-8")
    return path


def photograph(page: Path, picture: Path) -> Path | None:
    """A picture of the top of the page, as a browser shows it without a network; None where no browser is installed.

    Raises:
        UserError: if the browser draws nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", OFFLINE]
        size = f"--window-size={WINDOW[0]},{WINDOW[1]}"
        run_program(
            [*words, size, f"--screenshot={shot}", page.resolve().as_uri()], "the browser draws no page", timeout_s=60
        )
        if not shot.is_file():
            raise UserError("the browser draws no page")
        with Image.open(shot) as seen:
            smaller = seen.convert("RGB").resize((WINDOW[0] * 2 // 3, WINDOW[1] * 2 // 3), Image.Resampling.LANCZOS)
        smaller.quantize(256).save(picture, optimize=True)
    return picture


def _section(section: Section, records: Sequence[Record], images: Path) -> str:
    """A method's part of the page; empty if nothing is known of it."""
    tables = [name for name in section.tables if any(TABLES[name].holds(record) for record in records)]
    pictures = [(file, caption) for file, caption in section.pictures if (images / file).is_file()]
    if not tables and not pictures:
        return ""
    parts = [
        f'<h2 id="{_anchor(section.title)}">{html.escape(section.title)}</h2>',
        f"<p>{html.escape(section.said)}</p>",
    ]
    parts.append("<pre>" + html.escape("\n".join(section.commands)) + "</pre>")
    for file, caption in pictures:
        said = html.escape(caption)
        parts.append(
            f'<figure><img src="images/{file}" alt="{said}" loading="lazy"><figcaption>{said}</figcaption></figure>'
        )
    for table in (TABLES[name] for name in tables):
        parts += [to_html(render(table, records)), middles(table, records)]
    return "\n".join(parts)


def _anchor(title: str) -> str:
    """A title as an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def middles(table: Table, records: Sequence[Record]) -> str:
    """A table's interquartile means over seeds, with bootstrap intervals; empty if nothing has enough seeds."""
    rows = []
    for called, found in rows_of(table, records):
        values = {column: [record.value for record in of] for column, of in found.items() if len(of) >= FEWEST_SEEDS}
        if values:
            cells = [_middle(values[column]) if column in values else ABSENT for column in table.columns]
            counts = sorted({len(of) for of in values.values()})
            seeds = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
            rows.append("| " + " | ".join((*called, seeds, *cells)) + " |")
    if not rows:
        return ""
    head = "| " + " | ".join((*table.row_heads, "seeds", *table.columns.values())) + " |"
    return f"<details><summary>{MIDDLES}</summary>{to_html(chr(10).join([head, *rows]))}</details>"


def _middle(values: Sequence[float]) -> str:
    """``interquartile mean [low, high]`` of some seeds."""
    low, high = bootstrap_interval(values)
    return f"{number(interquartile_mean(values))} [{number(low)}, {number(high)}]"


def to_html(markdown: str) -> str:
    """A table of `handgen.report.render` and its footnotes as HTML."""
    rows: list[str] = []
    notes: list[str] = []
    for line in markdown.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            tag = "td" if rows else "th"
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            rows.append("<tr>" + "".join(f"<{tag}>{inline(cell)}</{tag}>" for cell in cells) + "</tr>")
        elif line.startswith("<sub>"):
            notes.append(f'<p class="note">{inline(line.removeprefix("<sub>").removesuffix("</sub>"))}</p>')
    folded = f"{FOLDED}{''.join(notes)}</details>" if notes else ""
    return f"<table>{''.join(rows)}</table>{folded}"


def inline(text: str) -> str:
    """Links and code of a line of Markdown as HTML."""
    escaped = html.escape(text, quote=False)
    return CODE.sub(r"<code>\1</code>", LINK.sub(r'<a href="\2">\1</a>', escaped))
