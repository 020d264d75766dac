"""Real brushes: MyPaint's own engine, from the system's library, without a compiler.

libmypaint (https://github.com/mypaint/libmypaint) is what SPIRAL painted with. Its C functions are called through
ctypes; a canvas' pixels are read where the library keeps them, without a copy.
"""

from __future__ import annotations

import colorsys
import ctypes
import ctypes.util
import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.errors import UserError
from handgen.painter.brush import bezier_points
from handgen.painter.world import CHANNELS, Strokes, in_channels

LIBRARIES = ("libmypaint-1.5.so.1", "libmypaint-1.5.dylib", "libmypaint.so.0")
PACKAGES = "libmypaint-1.5-1 mypaint-brushes"
LARGEST_SIDE = 4096
"""Pixels; the library aborts where there is no memory for a canvas."""
BRUSH_FOLDERS = ("/usr/share/mypaint-data", "/usr/local/share/mypaint-data", "/opt/homebrew/share/mypaint-data")
BRUSHES = ("pen", "pencil", "charcoal", "dry_brush")
"""Of the classic brushes, those that show at one pixel and do not read what is on the canvas."""
TILE = 64
"""Pixels: side of the squares in which the library keeps a canvas."""
FULL = 1 << 15
"""What the library has for 1."""
SEGMENT_S = 0.1
"""Seconds that the pen takes for each segment, as in the released environment."""
FARTHEST = 0.5
"""Canvas sides beyond the border that a pen may be; a stroke to far away takes seconds."""


class TileRequest(ctypes.Structure):
    """The library's ``MyPaintTileRequest``."""

    _fields_ = (
        ("tx", ctypes.c_int),
        ("ty", ctypes.c_int),
        ("readonly", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("thread_id", ctypes.c_int),
        ("mipmap_level", ctypes.c_int),
    )


@cache
def load_library() -> ctypes.CDLL:
    """The library, with the types of the functions used.

    Raises:
        UserError: if it is not installed.
    """
    found = ctypes.util.find_library("mypaint-1.5")
    for name in (*LIBRARIES, *([found] if found else [])):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        pointer, real, text = ctypes.c_void_p, ctypes.c_float, ctypes.c_char_p
        library.mypaint_brush_new.restype = pointer
        library.mypaint_brush_from_string.argtypes = [pointer, text]
        library.mypaint_brush_setting_from_cname.argtypes = [text]
        library.mypaint_brush_set_base_value.argtypes = [pointer, ctypes.c_int, real]
        library.mypaint_brush_stroke_to.argtypes = [pointer, pointer, *[real] * 5, ctypes.c_double, *[real] * 3]
        library.mypaint_fixed_tiled_surface_new.argtypes = [ctypes.c_int, ctypes.c_int]
        library.mypaint_fixed_tiled_surface_new.restype = pointer
        library.mypaint_fixed_tiled_surface_interface.argtypes = [pointer]
        library.mypaint_fixed_tiled_surface_interface.restype = pointer
        for name in ("brush_reset", "brush_new_stroke", "brush_unref", "surface_unref", "surface_begin_atomic"):
            getattr(library, f"mypaint_{name}").argtypes = [pointer]
        library.mypaint_surface_end_atomic.argtypes = [pointer, pointer]
        library.mypaint_tiled_surface_tile_request_start.argtypes = [pointer, pointer]
        library.mypaint_tile_request_init.argtypes = [pointer, *[ctypes.c_int] * 4]
        return library
    raise UserError(f"no libmypaint: apt-get install -y {PACKAGES}, or paint with the torch engine")


@cache
def brush_settings(name: str) -> bytes:
    """A brush's file.

    Raises:
        UserError: for a brush that is not among `BRUSHES`, or whose file is not there.
    """
    if name not in BRUSHES:
        raise UserError(f"brush {name!r}: take one of {', '.join(BRUSHES)}")
    folders = [os.environ[key] for key in ("MYPAINT_BRUSHES",) if os.environ.get(key)] + list(BRUSH_FOLDERS)
    for folder in folders:
        for version in ("2.0", "1.0", "."):
            path = Path(folder) / version / "brushes" / "classic" / f"{name}.myb"
            if path.is_file():
                return path.read_bytes()
    raise UserError(f"no brush {name}.myb in {', '.join(folders)}: apt-get install -y {PACKAGES}")


class Sheet:
    """One canvas of the library and the brush that paints on it.

    Args:
        size: height and width in pixels.
        settings: the brush's file.
    """

    def __init__(self, size: int, settings: bytes) -> None:
        self.library, self.size = load_library(), size
        self.surface = self.library.mypaint_fixed_tiled_surface_new(size, size)
        self.interface = self.library.mypaint_fixed_tiled_surface_interface(self.surface)
        self.brush = self.library.mypaint_brush_new()
        if not self.library.mypaint_brush_from_string(self.brush, settings):
            raise UserError("libmypaint cannot read this brush's file: it is for another version")
        across = -(-size // TILE)
        self.tiles = [[self._tile(column, row) for column in range(across)] for row in range(across)]
        for tile in (tile for row in self.tiles for tile in row):
            tile[:] = FULL  # white and opaque; what is there before is no legal value

    def _tile(self, column: int, row: int) -> NDArray[np.uint16]:
        """The library's own pixels, (64, 64, 4), red, green and blue times opacity, and opacity."""
        request = TileRequest()
        self.library.mypaint_tile_request_init(ctypes.byref(request), 0, column, row, 0)
        self.library.mypaint_tiled_surface_tile_request_start(self.surface, ctypes.byref(request))
        memory = (ctypes.c_uint16 * (TILE * TILE * 4)).from_address(request.buffer)
        pixels: NDArray[np.uint16] = np.ctypeslib.as_array(memory).reshape(TILE, TILE, 4)
        return pixels

    def set(self, setting: bytes, value: float) -> None:
        """Give a setting of the brush its base value."""
        index = self.library.mypaint_brush_setting_from_cname(setting)
        self.library.mypaint_brush_set_base_value(self.brush, index, value)

    def jump(self, place: tuple[float, float]) -> None:
        """Lift the pen and put it down elsewhere, (x, y) in pixels, without pressure."""
        self.library.mypaint_brush_reset(self.brush)
        self.library.mypaint_brush_new_stroke(self.brush)
        self.trace([place], [0.0])

    def trace(self, points: list[tuple[float, float]], pressures: list[float]) -> None:
        """Move the pen along points in pixels."""
        self.library.mypaint_surface_begin_atomic(self.interface)
        for (x, y), pressure in zip(points, pressures, strict=True):
            self.library.mypaint_brush_stroke_to(
                self.brush, self.interface, x, y, pressure, 0.0, 0.0, SEGMENT_S, 1.0, 0.0, 0.0
            )
        self.library.mypaint_surface_end_atomic(self.interface, None)

    def pixels(self) -> NDArray[np.uint16]:
        """(size, size, 3), `FULL` is 1."""
        rows = [np.concatenate(row, axis=1) for row in self.tiles] if len(self.tiles) > 1 else [self.tiles[0][0]]
        whole = np.concatenate(rows) if len(rows) > 1 else rows[0]
        return whole[: self.size, : self.size, :3]

    def __del__(self) -> None:
        """Give the library its memory back."""
        if hasattr(self, "brush"):
            self.library.mypaint_brush_unref(self.brush)
            self.library.mypaint_surface_unref(self.interface)


class MyPaintEngine:
    """An engine of `handgen.painter.world` that draws with MyPaint's brushes, canvas after canvas.

    A brush keeps its own random numbers: a new one for each painting makes paintings repeatable.

    Args:
        size: height and width in pixels.
        channels: 1 or 3.
        brush: one of `BRUSHES`.
        segments: straight pieces of a stroke; the released environment has 50.

    Raises:
        UserError: if the library or the brush is not there.
    """

    def __init__(self, size: int = 64, channels: int = 3, brush: str = "pen", segments: int = 12) -> None:
        if channels not in CHANNELS:
            raise UserError(f"a canvas has 1 channel (grey) or 3, not {channels}")
        if not 1 <= size <= LARGEST_SIDE:
            raise UserError(f"a canvas of {size} pixels: its side must lie in [1, {LARGEST_SIDE}]")
        self.size, self.channels, self.segments = size, channels, segments
        load_library()
        self.settings = brush_settings(brush)
        self.sheets: list[Sheet] = []

    def blank(self, count: int) -> None:
        """Take N new canvases, white, each with a new brush in their middles."""
        self.sheets = [Sheet(self.size, self.settings) for _ in range(count)]
        for sheet in self.sheets:
            sheet.jump((0.5 * self.size, 0.5 * self.size))

    def draw(self, strokes: Strokes) -> None:
        """Draw one stroke on each canvas, or lift the pen to its end."""
        points = bezier_points(strokes.places, self.segments)[:, 1:].clamp(-FARTHEST, 1.0 + FARTHEST) * self.size
        time = torch.linspace(0.0, 1.0, self.segments + 1)[1:]
        pressures = torch.lerp(strokes.pressure[:, :1], strokes.pressure[:, 1:], time)
        radii = (0.5 * strokes.size * self.size).clamp(min=0.1)
        rows = zip(
            self.sheets,
            points.tolist(),
            pressures.tolist(),
            radii.tolist(),
            strokes.colour.tolist(),
            strokes.drawn.tolist(),
            strict=True,
        )
        for sheet, path, pressure, radius, colour, drawn in rows:
            if not drawn:
                sheet.jump(path[-1])
                continue
            hue, saturation, brightness = colorsys.rgb_to_hsv(*colour)
            sheet.set(b"radius_logarithmic", math.log(radius))
            for setting, value in ((b"color_h", hue), (b"color_s", saturation), (b"color_v", brightness)):
                sheet.set(setting, value)
            sheet.trace(path, pressure)

    @property
    def canvas(self) -> Tensor:
        """The canvases as they are, float (N, C, H, W) in [0, 1]."""
        if not self.sheets:
            return torch.ones(0, self.channels, self.size, self.size)
        pixels = np.stack([sheet.pixels() for sheet in self.sheets])
        images = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2) / FULL
        return in_channels(images, self.channels)
