"""The arm's measures: joints as published, bones and widths fitted to silhouettes of hands."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

Numbers = tuple[float, ...]
Rows = tuple[Numbers, ...]

DIGITS = ("thumb", "index", "middle", "ring", "little")
JOINTS = (*(f"{digit}_{part}" for digit in DIGITS for part in ("palm", "tip")), "wrist", "elbow")
"""The order of actions: a joint at the palm and one half-way to the tip for each digit, then wrist and elbow."""
SIDEWAYS = 10
"""From here on joints lean the arm to the left or right: wrist and elbow."""
LOW: Numbers = (0.0,) * 10 + (-0.52, -1.04)
HIGH: Numbers = (1.55,) * 10 + (0.52, 1.04)
"""Smallest and largest joint angles in radians, as published."""

CAMERA_DISTANCE = 3.0
CAMERA_HEIGHT = 2.0
FIELD_OF_VIEW = math.radians(60.0)
"""The published camera: at (0, -3, 2) metres, looking along +y; the hand is as large as a person."""


@dataclass(frozen=True)
class Body:
    """Measures of an arm, in metres and radians, in the plane y = 0: x to the right, z up, the camera at y = -3.

    Points of the palm are relative to the wrist, of an upright hand. The thumb is on the left. All parts are capsules
    (segments with a radius). Flexion turns a digit out of the plane towards the camera; a digit's ``tilt`` turns its
    axis so that it also moves sideways: the thumb's nearly a right angle, so that it folds across the palm.

    Attributes:
        elbow: (x, z).
        forearm: length from elbow to wrist, and radius.
        palm_starts: of four bones, index to little finger (x, z); palm_ends: where these fingers begin; palm_radii.
        thenar: (x, z) of the start of the thumb's ball, which ends where the thumb begins, and its radius.
        thumb_base: (x, z).
        directions: of the five digits when stretched, from upright, positive to the right.
        tilts: of their axes.
        lengths: of the two parts of each digit; radii: of these.
    """

    elbow: Numbers
    forearm: Numbers
    palm_starts: Rows
    palm_ends: Rows
    palm_radii: Numbers
    thenar: Numbers
    thumb_base: Numbers
    directions: Numbers
    tilts: Numbers
    lengths: Rows
    radii: Rows


DRAWN = Body(
    elbow=(0.0, 0.1),
    forearm=(0.4, 0.33),
    palm_starts=((-0.16, 0.1), (-0.05, 0.1), (0.05, 0.1), (0.16, 0.1)),
    palm_ends=((-0.42, 1.12), (-0.14, 1.22), (0.14, 1.18), (0.38, 1.02)),
    palm_radii=(0.2, 0.2, 0.2, 0.2),
    thenar=(-0.1, 0.15, 0.22),
    thumb_base=(-0.28, 0.42),
    directions=(-0.87, -0.17, -0.03, 0.1, 0.28),
    tilts=(1.2, 0.4, 0.1, -0.2, -0.45),
    lengths=((0.55, 0.45), (0.56, 0.5), (0.62, 0.57), (0.58, 0.56), (0.46, 0.44)),
    radii=((0.17, 0.14), (0.14, 0.115), (0.14, 0.115), (0.135, 0.11), (0.12, 0.095)),
)
"""Proportions of `handgen.anatomy`, a millimetre there 14 here; bent fingers come together, as a hand's do."""

FITTED = Body(
    elbow=(0.0, 0.1),
    forearm=(0.541, 0.375),
    palm_starts=((-0.184, 0.096), (-0.05, 0.1), (0.05, 0.1), (0.203, 0.094)),
    palm_ends=((-0.375, 1.1), (-0.133, 1.268), (0.144, 1.214), (0.332, 1.033)),
    palm_radii=(0.22, 0.241, 0.242, 0.178),
    thenar=(-0.101, 0.149, 0.221),
    thumb_base=(-0.321, 0.462),
    directions=(-0.883, -0.208, -0.039, 0.116, 0.315),
    tilts=(1.207, 0.403, 0.089, -0.186, -0.448),
    lengths=((0.604, 0.502), (0.605, 0.538), (0.653, 0.585), (0.593, 0.555), (0.497, 0.465)),
    radii=((0.171, 0.136), (0.139, 0.115), (0.144, 0.114), (0.138, 0.109), (0.121, 0.096)),
)
"""`DRAWN`, fitted to training images by ``python -m handgen.arm.fit_body --count 40 --rounds 3``."""


def mirrored(body: Body) -> Body:
    """The arm of the other side: the thumb on the right."""

    def flip(points: Rows) -> Rows:
        return tuple((-x, z) for x, z in points)

    return replace(
        body,
        elbow=(-body.elbow[0], body.elbow[1]),
        palm_starts=flip(body.palm_starts),
        palm_ends=flip(body.palm_ends),
        thenar=(-body.thenar[0], *body.thenar[1:]),
        thumb_base=(-body.thumb_base[0], body.thumb_base[1]),
        directions=tuple(-angle for angle in body.directions),
        tilts=tuple(-angle for angle in body.tilts),
    )


def measures(body: Body) -> dict[str, Numbers | Rows]:
    """The measures by name."""
    return {field.name: getattr(body, field.name) for field in fields(body)}
