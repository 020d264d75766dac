"""Sheets for people: unselected samples with the judges' verdicts, samples above their nearest neighbours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

    Font = FreeTypeFont | BitmapFont

COLUMNS = 5
NEIGHBOUR_COLUMNS = 10
_TILE = 192  # px on the page of one sample at least: 64 px samples are shown at 3 times their size
_GAP = 12
_TEXT = 17
_LINE = 24
# Blue-green and vermilion of Okabe and Ito (2008), for colour-blind readers; "no" is also struck through.
_YES = (0, 158, 115)
_NO = (213, 94, 0)
_INK = (30, 30, 30)
_MUTED = (100, 100, 100)
_FRAME = (215, 215, 215)
_PAPER = (255, 255, 255)


def judge_letter(name: str) -> str:
    """Letter that stands for a judge: "judge_a" A, "judge_b" B, "geometric" G."""
    return name.rsplit("_", 1)[-1][:1].upper()


def contact_sheet(images: Tensor, verdicts: Mapping[str, Tensor], title: str, notes: Sequence[str] = ()) -> "Image":
    """Samples in rows of five, each with one badge per judge below it.

    Args:
        images: Uint8 (N, 3, H, W); the first N drawn, not selected.
        verdicts: Bool (N,) by judge: accepted as a valid hand.
        title: First line of the page.
        notes: Further lines below the title.

    Returns:
        An RGB page.
    """
    tile = _tile_size(images)
    rows = -(-len(images) // COLUMNS)
    head = _GAP + _LINE * (2 + len(notes)) + _GAP
    width = _GAP + COLUMNS * (tile + _GAP)
    cell = tile + _LINE + 2 * _GAP
    page, draw, font = _blank(width, head + rows * cell)
    _header(draw, font, title, notes)
    _legend(draw, font, _GAP + _LINE * (1 + len(notes)), list(verdicts))
    for index, image in enumerate(images):
        left = _GAP + (index % COLUMNS) * (tile + _GAP)
        top = head + (index // COLUMNS) * cell
        page.paste(_picture(image, tile), (left, top))
        for place, (name, valid) in enumerate(verdicts.items()):
            _badge(draw, font, left + place * (_LINE + 6), top + tile + 4, judge_letter(name), bool(valid[index]))
        draw.text((left + tile, top + tile + 6), f"{index + 1}", _MUTED, font=font, anchor="ra")
    return page


def neighbour_sheet(
    samples: Tensor, neighbours: Tensor, distances: Tensor, title: str, notes: Sequence[str] = ()
) -> "Image":
    """Every sample above its nearest training image, with their distance.

    Args:
        samples: Uint8 (N, 3, H, W); the first N drawn, not selected.
        neighbours: Uint8 (N, 3, H, W), the training image nearest to each.
        distances: (N,), in units of the held-out images' median distance.
        title: First line of the page.
        notes: Further lines below the title.

    Returns:
        An RGB page.
    """
    tile = _tile_size(samples) * 2 // 3
    rows = -(-len(samples) // NEIGHBOUR_COLUMNS)
    head = _GAP + _LINE * (1 + len(notes)) + _GAP
    margin = 110
    cell = 2 * tile + _LINE + 3 * _GAP
    page, draw, font = _blank(margin + min(NEIGHBOUR_COLUMNS, len(samples)) * (tile + _GAP), head + rows * cell)
    _header(draw, font, title, notes)
    for row in range(rows):
        top = head + row * cell
        for text, centre in (("sample", 0.5), ("nearest\ntraining\nimage", 1.5), ("distance", 2.09)):
            draw.text((_GAP, top + int(centre * tile)), text, _MUTED, font=font, anchor="lm")
    for index, distance in enumerate(distances.tolist()):
        left = margin + (index % NEIGHBOUR_COLUMNS) * (tile + _GAP)
        top = head + (index // NEIGHBOUR_COLUMNS) * cell
        page.paste(_picture(samples[index], tile), (left, top))
        page.paste(_picture(neighbours[index], tile), (left, top + tile + 2))
        draw.text((left + tile // 2, top + int(2.09 * tile)), f"{distance:.2f}", _INK, font=font, anchor="mm")
    return page


def methods_sheet(
    rows: Mapping[str, tuple[Tensor, Mapping[str, Tensor]]], title: str, notes: Sequence[str] = ()
) -> "Image":
    """The samples of each method in a row below its name, each with one badge per judge.

    Args:
        rows: by method, uint8 (N, 3, H, W), the first N drawn, not selected, and bool (N,) by judge: accepted as a
            valid hand. There is at least one method; all have the same judges.
        title: First line of the page.
        notes: Further lines below the title.

    Returns:
        An RGB page.
    """
    first, verdicts = next(iter(rows.values()))
    tile, columns = _tile_size(first) * 2 // 3, max(len(images) for images, _ in rows.values())
    head = _GAP + _LINE * (2 + len(notes)) + _GAP
    cell = _LINE + tile + _LINE + 2 * _GAP
    page, draw, font = _blank(_GAP + columns * (tile + _GAP), head + len(rows) * cell)
    _header(draw, font, title, notes)
    _legend(draw, font, _GAP + _LINE * (1 + len(notes)), list(verdicts))
    for row, (name, (images, by_judge)) in enumerate(rows.items()):
        top = head + row * cell
        draw.text((_GAP, top), name, _INK, font=font)
        for column, image in enumerate(images):
            left = _GAP + column * (tile + _GAP)
            page.paste(_picture(image, tile), (left, top + _LINE))
            for place, (judge, valid) in enumerate(by_judge.items()):
                at = (left + place * (_LINE + 6), top + _LINE + tile + 4)
                _badge(draw, font, *at, judge_letter(judge), bool(valid[column]))
    return page


def _tile_size(images: Tensor) -> int:
    """Side of a sample on the page, px: a whole multiple of its own."""
    side = int(images.shape[-1])
    return side * max(1, -(-_TILE // side))


def _picture(image: Tensor, side: int) -> "Image":
    """One uint8 (3, H, W) image as a square picture; bicubic, so that pixels' edges do not hide the shape."""
    from PIL import Image, ImageDraw

    array = image.permute(1, 2, 0).contiguous().cpu().numpy()
    picture = Image.fromarray(array).resize((side, side), Image.Resampling.BICUBIC)
    ImageDraw.Draw(picture).rectangle((0, 0, side - 1, side - 1), outline=_FRAME)  # white photographs end somewhere
    return picture


def _blank(width: int, height: int) -> "tuple[Image, ImageDraw, Font]":
    """An empty page with its pen and its font (the one inside Pillow, so that every machine draws alike)."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (width, height), _PAPER)
    return page, ImageDraw.Draw(page), ImageFont.load_default(_TEXT)


def _header(draw: "ImageDraw", font: "Font", title: str, notes: Sequence[str]) -> None:
    """Title and notes at the top of the page."""
    draw.text((_GAP, _GAP), title, _INK, font=font, stroke_width=0.3)
    for place, note in enumerate(notes, start=1):
        draw.text((_GAP, _GAP + place * _LINE), note, _MUTED, font=font)


def _badge(draw: "ImageDraw", font: "Font", left: int, top: int, letter: str, valid: bool) -> None:
    """A judge's letter: white on a full square for yes, coloured, framed and struck through for no."""
    box = (left, top, left + _LINE, top + _LINE)
    middle = (left + _LINE / 2, top + _LINE / 2)
    if valid:
        draw.rounded_rectangle(box, radius=4, fill=_YES)
        draw.text(middle, letter, _PAPER, font=font, anchor="mm", stroke_width=0.5)
        return
    draw.rounded_rectangle(box, radius=4, outline=_NO, width=2)
    draw.text(middle, letter, _NO, font=font, anchor="mm", stroke_width=0.5)
    draw.line((left + 3, top + _LINE - 3, left + _LINE - 3, top + 3), fill=_NO, width=2)


def _legend(draw: "ImageDraw", font: "Font", top: int, names: Sequence[str]) -> None:
    """What the badges mean, in one line."""
    left = _GAP
    letter = judge_letter(names[0]) if names else "A"
    for valid, meaning in ((True, "valid hand"), (False, "not valid")):
        _badge(draw, font, left, top + 3, letter, valid)
        draw.text((left + _LINE + 6, top + 6), meaning, _INK, font=font)
        left += _LINE + 6 + int(draw.textlength(meaning, font=font)) + 18
    judges = "judges: " + "   ".join(f"{judge_letter(name)} = {name}" for name in names)
    draw.text((left, top + 6), judges, _INK, font=font)
