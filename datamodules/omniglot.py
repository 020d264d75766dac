"""Omniglot's drawings in the published archives and folders: as images, or as the strokes that people drew.

Lake, Salakhutdinov and Tenenbaum, *Human-level concept learning through probabilistic program induction*, Science 350,
2015. ``images_*/ALPHABET/CHARACTER/NUMBER_DRAWER.png`` are 105 x 105 pixels; ``strokes_*`` has a text of the same name
for each, with ``x,y,milliseconds`` a line, between ``START`` and ``BREAK`` after each stroke, y from 0 down to -105.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from handgen.errors import UserError

KINDS = {"images": ".png", "strokes": ".txt"}
LARGEST_FILE_BYTES = 2**20
"""An image has 300 bytes, strokes have 5 KB; an entry of an archive that is larger than this is not opened."""
LARGEST_ARCHIVE_BYTES = 2**29
"""The whole of Omniglot takes 20 MB as images, and 100 MB as strokes."""
OMNIGLOT_ADVICE = (
    "get images_background_small1.zip or images_background.zip from https://github.com/brendenlake/omniglot"
)
SIDE, LINE_WIDTH, FINER = 105, 3, 4
"""Pixels of a drawing and of its lines, and how much finer strokes are drawn before they are made as small."""


@dataclass(frozen=True)
class Drawing:
    """A file of one drawing.

    Attributes:
        name: its path below the archive or the folder.
        content: its bytes.
    """

    name: str
    content: bytes

    @property
    def character(self) -> str:
        """Alphabet and character, ``Greek/character01``."""
        return "/".join(Path(self.name).parts[1:3])

    @property
    def drawer(self) -> int:
        """Who drew it."""
        return int(Path(self.name).stem.rpartition("_")[2])


def read_omniglot(root: Path) -> list[Drawing]:
    """All drawings below a folder, in order; strokes of those alone of which there is no image.

    Raises:
        UserError: if there are none, or a file is damaged or not where drawings are.
    """
    found: dict[str, Drawing] = {}
    for kind, ending in KINDS.items():
        for drawing in _files(root, kind, ending):
            found.setdefault(f"{drawing.character}/{Path(drawing.name).stem}", drawing)
    if not found:
        raise UserError(f"no Omniglot drawings in {root}: {OMNIGLOT_ADVICE}, and put it there")
    return list(found.values())


def _files(root: Path, kind: str, ending: str) -> list[Drawing]:
    """Drawings of one kind, of archives first."""
    found: list[Drawing] = []
    archives = sorted(root.glob(f"{kind}_*.zip"))
    for archive in archives:
        found += _zip_entries(archive, ending)
    unpacked = {path.stem for path in archives}
    for path in sorted(root.glob(f"{kind}_*/*/*/*{ending}")):
        if path.relative_to(root).parts[0] not in unpacked:
            if not _is_drawing(path):
                raise UserError(f"{path} is not a drawing NUMBER_DRAWER{ending}: take it away, or {OMNIGLOT_ADVICE}")
            found.append(Drawing(path.relative_to(root).as_posix(), path.read_bytes()))
    return found


def _zip_entries(archive: Path, ending: str) -> list[Drawing]:
    """The drawings in an archive, none of which is unpacked to disk."""
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if entry.filename.endswith(ending)]
            if sum(entry.file_size for entry in entries) > LARGEST_ARCHIVE_BYTES:
                raise UserError(f"{archive} is too large for drawings: {OMNIGLOT_ADVICE}")
            for entry in entries:
                if entry.file_size > LARGEST_FILE_BYTES:
                    raise UserError(f"{archive}: {entry.filename} is too large for a drawing: {OMNIGLOT_ADVICE}")
                place = Path(entry.filename)
                if len(place.parts) != 4 or ".." in place.parts or not _is_drawing(place):
                    raise UserError(f"{archive}: {entry.filename} is not where drawings are: {OMNIGLOT_ADVICE}")
            # What an entry says of its size may be a lie: one byte more than it may have is never unpacked.
            return [Drawing(entry.filename, opened.open(entry).read(LARGEST_FILE_BYTES + 1)) for entry in entries]
    except UserError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError is for entries with a password, NotImplementedError for packings that Python does not know.
        raise UserError(f"{archive} is damaged or locked ({error}): {OMNIGLOT_ADVICE}") from error


def _is_drawing(path: Path) -> bool:
    """Whether a file's name ends in the number of a drawer."""
    drawer = path.stem.rpartition("_")[2]
    return drawer.isascii() and drawer.isdigit()


def strokes_of(drawing: Drawing) -> list[list[tuple[float, float]]]:
    """The strokes of a text, each a list of points (x, y) in pixels, y downwards.

    Raises:
        UserError: if it is no text of strokes.
    """
    strokes: list[list[tuple[float, float]]] = [[]]
    try:
        for line in drawing.content.decode("ascii").split():
            if line == "BREAK":
                strokes.append([])
            elif line != "START":
                x, y, _ = map(float, line.split(","))
                if not (math.isfinite(x) and math.isfinite(y)):
                    raise ValueError(line)
                strokes[-1].append((x, -y))
    except ValueError as error:
        raise UserError(
            f"{drawing.name} has no strokes as Omniglot writes them ({error}): {OMNIGLOT_ADVICE}"
        ) from error
    return [stroke for stroke in strokes if stroke]


def draw_strokes(drawing: Drawing) -> io.BytesIO:
    """The strokes of a text as a grey PNG, black on white, 105 x 105 pixels as the images are."""
    image = Image.new("L", (FINER * SIDE, FINER * SIDE), 255)
    pen, radius = ImageDraw.Draw(image), FINER * LINE_WIDTH / 2
    for stroke in strokes_of(drawing):
        points = [(FINER * x, FINER * y) for x, y in stroke]
        pen.line(points, fill=0, width=FINER * LINE_WIDTH, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    file = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BOX).save(file, "PNG")
    file.seek(0)
    return file
