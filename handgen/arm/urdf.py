"""Writes the arm as a URDF with a mesh for each link, made by code from the body's measures."""

from __future__ import annotations

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


def write_urdf(body: Body, folder: Path) -> Path:
    """Write ``arm.urdf`` and its meshes.

    Links: ``forearm``, whose joint with the world is the elbow, ``hand``, then two for each digit. Every frame lies at
    its joint and is parallel to the world's when all angles are 0.

    Args:
        body: its measures.
        folder: made if need be.

    Returns:
        The URDF.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_link("world", None, folder), *_arm(body, folder), *_digits(body, folder)]
    path = folder / "arm.urdf"
    with whole_file(path) as partial:
        partial.write_text('<?xml version="1.0"?>\n<robot name="arm">\n' + "\n".join(parts) + "\n</robot>\n", "utf-8")
    return path


def _arm(body: Body, folder: Path) -> list[str]:
    """Forearm and palm."""
    length, radius = body.forearm
    forearm = [(_point(0.0, -FOREARM_BELOW_ELBOW), _point(0.0, length), radius)]
    bones = zip(body.palm_starts, body.palm_ends, body.palm_radii, strict=True)
    hand = [(_point(*start), _point(*end), width) for start, end, width in bones]
    hand.append((_point(*body.thenar[:2]), _point(*body.thumb_base), body.thenar[2]))
    upright = np.array([0.0, 1.0, 0.0])
    return [
        _link("forearm", forearm, folder, "forearm", SKIN[0]),
        _joint("elbow", "world", "forearm", _point(*body.elbow), upright),
        _link("hand", hand, folder, "hand", SKIN[0]),
        _joint("wrist", "forearm", "hand", _point(0.0, length), upright),
    ]


def _digits(body: Body, folder: Path) -> list[str]:
    """Two links and joints for each digit."""
    measured = as_tensors(body)
    stretched, flexed = (part.double().numpy() for part in digit_frames(measured["directions"], measured["tilts"]))
    bases = (body.thumb_base, *body.palm_ends)
    lines = []
    for number, digit in enumerate(DIGITS):
        axis, direction = np.cross(stretched[number], flexed[number]), stretched[number]
        origin, parent = _point(*bases[number]), "hand"
        for part, length, radius, colour in zip(
            ("palm", "tip"), body.lengths[number], body.radii[number], SKIN[1:], strict=True
        ):
            name = f"{digit}_{part}"
            capsule = (np.zeros(3), direction * length, radius)
            lines += [_link(name, [capsule], folder, "digit", colour), _joint(name, parent, name, origin, axis)]
            origin, parent = direction * length, name
    return lines


def _point(x: float, z: float) -> Point:
    """A point in the plane y = 0."""
    return np.array([x, 0.0, z])


def _link(
    name: str,
    capsules: list[Capsule] | None,
    folder: Path,
    kind: str = "",
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> str:
    """A link with its mesh; the world's has none."""
    if capsules is None:
        return f"<link name={quoteattr(name)}/>"
    mesh = f"{name}.obj"
    with whole_file(folder / mesh) as partial:
        partial.write_text(obj_of(capsules), "utf-8")
    mass = LINK_MASS[kind]
    rgba = " ".join(f"{value:.3f}" for value in (*colour, 1.0))
    return (
        f"<link name={quoteattr(name)}>"
        f'<inertial><mass value="{mass}"/><inertia ixx="{mass / 10}" iyy="{mass / 10}" izz="{mass / 10}" '
        'ixy="0" ixz="0" iyz="0"/></inertial>'
        f"<visual><geometry><mesh filename={quoteattr(mesh)}/></geometry><material name={quoteattr(name)}>"
        f'<color rgba="{rgba}"/></material></visual></link>'
    )


def _joint(name: str, parent: str, child: str, origin: Point, axis: Point) -> str:
    """A hinge; names and limits as in `JOINTS`."""
    index = JOINTS.index(name)
    return (
        f'<joint name={quoteattr(name)} type="revolute"><parent link={quoteattr(parent)}/>'
        f'<child link={quoteattr(child)}/><origin xyz="{_numbers(origin)}"/><axis xyz="{_numbers(axis)}"/>'
        f'<limit lower="{LOW[index]}" upper="{HIGH[index]}" effort="500" velocity="100"/></joint>'
    )


def _numbers(point: Point) -> str:
    return " ".join(f"{value:.6f}" for value in point)


def obj_of(capsules: list[Capsule]) -> str:
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
