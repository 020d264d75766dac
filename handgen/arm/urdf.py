"""Writes the arm as a URDF with a mesh for each link, made by code from the body's measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from handgen.arm.body import DIGITS, HIGH, JOINTS, LOW, Body
from handgen.arm.geometry import FOREARM_BELOW_ELBOW, as_tensors, digit_frames
from handgen.whole_files import whole_file

Point = NDArray[np.float64]
Capsule = tuple[Point, Point, float]
SIDES, RINGS = 10, 3
"""Of a capsule's mesh: corners around it, and rings on each of its round ends."""
LINK_MASS = {"forearm": 0.2, "hand": 0.1, "digit": 0.005}
"""Kilograms, as light as a person's hand, so that the motors set angles within a few steps."""
SKIN = ((0.93, 0.72, 0.60), (0.88, 0.64, 0.52), (0.80, 0.55, 0.44))
"""Colours of arm and palm, of the first and of the second part of digits: joints can be seen."""


@dataclass(frozen=True)
class Link:
    """A rigid part of the arm and the hinge that it hangs on.

    Every frame lies at its hinge and is parallel to the world's when all angles are 0.

    Attributes:
        name: of link and joint; the forearm's joint is the elbow, the hand's the wrist.
        joint: its name in `JOINTS`.
        parent: link that it hangs on.
        origin: (3,) of the hinge in the parent's frame.
        axis: (3,) of the hinge.
        capsules: start (3,), end (3,) and radius of each, in its own frame.
        mass: in kilograms.
        colour: RGB in [0, 1].
    """

    name: str
    joint: str
    parent: str
    origin: Point
    axis: Point
    capsules: tuple[Capsule, ...]
    mass: float
    colour: tuple[float, float, float]


def links(body: Body) -> list[Link]:
    """The arm's twelve links, in the order of `JOINTS`: two for each digit, hand, forearm."""
    measured = as_tensors(body)
    stretched, flexed = (part.double().numpy() for part in digit_frames(measured["directions"], measured["tilts"]))
    found = []
    for number, (digit, base) in enumerate(zip(DIGITS, (body.thumb_base, *body.palm_ends), strict=True)):
        axis, direction = np.cross(stretched[number], flexed[number]), stretched[number]
        parts = zip(("palm", "tip"), body.lengths[number], body.radii[number], SKIN[1:], strict=True)
        origin, parent = _point(*base), "hand"
        for part, length, radius, colour in parts:
            name = f"{digit}_{part}"
            capsule = (np.zeros(3), direction * length, radius)
            found.append(Link(name, name, parent, origin, axis, (capsule,), LINK_MASS["digit"], colour))
            origin, parent = direction * length, name
    return [*found, *_arm(body)]


def _arm(body: Body) -> list[Link]:
    """Palm and forearm."""
    length, radius = body.forearm
    bones = zip(body.palm_starts, body.palm_ends, body.palm_radii, strict=True)
    palm = [(_point(*start), _point(*end), width) for start, end, width in bones]
    palm.append((_point(*body.thenar[:2]), _point(*body.thumb_base), body.thenar[2]))
    forearm = ((_point(0.0, -FOREARM_BELOW_ELBOW), _point(0.0, length), radius),)
    upright, skin = np.array([0.0, 1.0, 0.0]), SKIN[0]
    return [
        Link("hand", "wrist", "forearm", _point(0.0, length), upright, tuple(palm), LINK_MASS["hand"], skin),
        Link("forearm", "elbow", "world", _point(*body.elbow), upright, forearm, LINK_MASS["forearm"], skin),
    ]


def _point(x: float, z: float) -> Point:
    """A point in the plane y = 0."""
    return np.array([x, 0.0, z])


def write_urdf(body: Body, folder: Path) -> Path:
    """Write ``arm.urdf`` and a mesh for each link.

    Args:
        body: its measures.
        folder: made if need be.

    Returns:
        The URDF.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = ['<link name="world"/>']
    for link in links(body):
        with whole_file(folder / f"{link.name}.obj") as partial:
            partial.write_text(obj_of(link.capsules), "utf-8")
        parts += [_link(link), _joint(link)]
    path = folder / "arm.urdf"
    with whole_file(path) as partial:
        partial.write_text('<?xml version="1.0"?>\n<robot name="arm">\n' + "\n".join(parts) + "\n</robot>\n", "utf-8")
    return path


def _link(link: Link) -> str:
    """A link with its mesh."""
    mass, name = link.mass, quoteattr(link.name)
    rgba = " ".join(f"{value:.3f}" for value in (*link.colour, 1.0))
    return (
        f"<link name={name}>"
        f'<inertial><mass value="{mass}"/><inertia ixx="{mass / 10}" iyy="{mass / 10}" izz="{mass / 10}" '
        'ixy="0" ixz="0" iyz="0"/></inertial>'
        f"<visual><geometry><mesh filename={quoteattr(link.name + '.obj')}/></geometry><material name={name}>"
        f'<color rgba="{rgba}"/></material></visual></link>'
    )


def _joint(link: Link) -> str:
    """A link's hinge."""
    index = JOINTS.index(link.joint)
    return (
        f'<joint name={quoteattr(link.joint)} type="revolute"><parent link={quoteattr(link.parent)}/>'
        f'<child link={quoteattr(link.name)}/><origin xyz="{_numbers(link.origin)}"/>'
        f'<axis xyz="{_numbers(link.axis)}"/>'
        f'<limit lower="{LOW[index]}" upper="{HIGH[index]}" effort="500" velocity="100"/></joint>'
    )


def _numbers(point: Point) -> str:
    return " ".join(f"{value:.6f}" for value in point)


def obj_of(capsules: Sequence[Capsule]) -> str:
    """Meshes of capsules, one after the other, as the text of an OBJ file with normals."""
    lines: list[str] = []
    first = 1
    for start, end, radius in capsules:
        vertices, normals, faces = capsule_mesh(start, end, radius)
        lines += [f"v {_numbers(vertex)}" for vertex in vertices]
        lines += [f"vn {_numbers(normal)}" for normal in normals]
        lines += ["f " + " ".join(f"{first + corner}//{first + corner}" for corner in face) for face in faces]
        first += len(vertices)
    return "\n".join(lines) + "\n"


def capsule_mesh(start: Point, end: Point, radius: float) -> tuple[Point, Point, list[tuple[int, int, int]]]:
    """A capsule as triangles.

    Corners lie a little outside of the round surface, so that its silhouette has the capsule's area.

    Returns:
        Vertices (V, 3), unit normals (V, 3), triangles as indices of vertices, outside counterclockwise.
    """
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    around = np.arange(SIDES) * 2 * np.pi / SIDES
    ring = np.cos(around)[:, None] * side + np.sin(around)[:, None] * other
    rises = np.linspace(-np.pi / 2, 0.0, RINGS + 1)[1:]
    normals, centres = [-axis[None]], [start[None]]
    for centre, angles in ((start, rises), (end, -rises[::-1])):
        for angle in angles:
            normals.append(np.cos(angle) * ring + np.sin(angle) * axis)
            centres.append(np.broadcast_to(centre, ring.shape))
    normals.append(axis[None])
    centres.append(end[None])
    outwards = np.concatenate(normals)
    larger = radius * (np.pi / SIDES / np.sin(np.pi / SIDES)) ** 0.5
    vertices = np.concatenate(centres) + larger * outwards
    return vertices, outwards, _faces(2 * RINGS)


def _faces(rings: int) -> list[tuple[int, int, int]]:
    """Triangles between a first point, rings, and a last point."""
    last = 1 + rings * SIDES
    faces = []
    for corner in range(SIDES):
        after = (corner + 1) % SIDES
        faces.append((0, 1 + after, 1 + corner))
        for lower, upper in pairwise(range(1, last, SIDES)):
            faces += [(lower + corner, lower + after, upper + after), (lower + corner, upper + after, upper + corner)]
        faces.append((last, last - SIDES + corner, last - SIDES + after))
    return faces
