"""Reading one photograph, safely."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MAX_PIXELS = 64_000_000  # refused unread above this; the largest phone cameras stay below


class BadImage(Exception):
    """A photograph that cannot be used; the message is the reason."""


def read_photograph(path: Path, enough: int) -> Image:
    """Decode one photograph.

    Args:
        path: The file.
        enough: A larger side that suffices, in pixels; a larger JPEG is decoded at half, quarter or eighth
            size, which is several times faster.

    Returns:
        uint8 (H, W, 3), RGB, upright by its EXIF tag; grey is made RGB and transparent is put on white.

    Raises:
        BadImage: If it is absent, not an image, truncated or has more than 64 million pixels.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # our own limit is lower
            picture = Pillow.open(path)
        with picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadImage("more than 64 million pixels")
            scale = enough / max(picture.size)
            if scale < 1:
                picture.draft("RGB", (round(picture.width * scale), round(picture.height * scale)))
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):
                upright = Pillow.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                clear = upright.convert("RGBA")
                upright = Pillow.alpha_composite(Pillow.new("RGBA", clear.size, "white"), clear)
            return np.array(upright.convert("RGB"))
    except FileNotFoundError:
        raise BadImage("file absent") from None
    except Pillow.DecompressionBombError:
        raise BadImage("more than 64 million pixels") from None
    except UnidentifiedImageError:
        raise BadImage("not an image") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImage("truncated or damaged") from error
