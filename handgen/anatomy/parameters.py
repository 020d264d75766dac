"""The explicit parameter set of a hand: bones, joints, skin and camera, sampled inside published ranges.

Sources, by the names used below:
    [B] Buryanov & Kotiuk 2010, bone lengths of the fingers from radiographs (means, millimetres).
    [C] Chatzioglou et al. 2024, Anat Cell Biol 57(2): visible finger lengths (SD about 8%), abduction angles.
    [R] e-hand.com, normal ranges of motion: MCP -45..90, PIP 0..100, DIP 0..80 degrees, abduction +-20.
    [L] Landsmeer's coupling: in free flexion the DIP joint follows the PIP joint at about two thirds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from handgen.anatomy.draws import Draws

DIGITS = ("thumb", "index", "middle", "ring", "little")
SEGMENTS = (2, 3, 3, 3, 3)
"""Phalanges of each digit; the thumb has no middle one."""

METACARPAL_MM = (46.2, 68.1, 64.6, 58.0, 53.7)
"""[B], thumb to little finger."""

PHALANX_MM = (
    (31.6, 21.7, 0.0),
    (39.8, 22.4, 15.8),
    (44.6, 26.3, 17.4),
    (41.4, 25.7, 17.3),
    (32.7, 18.1, 16.0),
)
"""[B], proximal, middle, distal; the thumb's second is its distal one."""

SOFT_TIP_MM = 4.0
"""Pulp beyond the last bone [B]."""

CARPAL_MM = ((21.0, 20.0), (11.0, 24.0), (2.5, 25.0), (-6.0, 23.5), (-13.5, 20.0))
"""Where each metacarpal starts, (x towards the thumb, y towards the fingers) from the centre of the wrist."""

RADIUS_MM = (
    (12.0, 10.6, 9.6, 8.3),
    (9.9, 8.9, 7.7, 6.6),
    (10.1, 9.1, 7.9, 6.8),
    (9.5, 8.5, 7.4, 6.4),
    (8.4, 7.5, 6.6, 5.7),
)
"""Half the width of each digit at its MCP, PIP, DIP joint and tip (thumb: CMC, MCP, IP, tip)."""

PALM_FAN_DEG = (0.0, 12.5, 3.5, -6.5, -17.0)
"""Direction of the metacarpals from the long axis, positive towards the thumb."""

SPLAY_OPEN_DEG = (0.0, 15.0, 3.0, -10.0, -24.0)
SPLAY_CLOSED_DEG = (0.0, 1.5, 1.0, -0.5, -3.0)
"""Direction of the fingers in a widely opened and in a closed hand; [C] gives 17, 14 and 32 degrees as the
maximal angles between neighbours."""


@dataclass
class HandParameters:
    """Everything that decides how a hand looks. Every tensor is float64 with first dimension B.

    Attributes:
        side: 0 right, 1 left.
        view: 0 palmar, 1 dorsal.
        size: scale of the whole skeleton (1 is a hand of 185 mm).
        bone: relative length of each bone, (B, 5, 4): metacarpal, proximal, middle, distal phalanx.
        width: relative thickness of the digits, (B, 5); `palm_width` that of the palm.
        splay: direction of each finger in the palm's plane, radians from the long axis, (B, 5); thumb: metacarpal.
        flexion: joint angles in radians, (B, 5, 3), positive towards the palm (MCP, PIP, DIP; thumb MCP, IP, 0).
        tilt: rotation out of the image plane about the x and y axis, radians, (B, 2).
        rotation: rotation in the image plane, radians. `fill`: share of the frame that the hand spans.
        shift: displacement of the hand's centre, (B, 2), in half frames. `cut`: where the frame cuts the wrist, mm.
        melanin, blood: chromophores of the skin; `pallor`: how much paler the palm is.
        light: direction of the light (azimuth, elevation), radians, (B, 2); `ambient` its diffuse share.
        crease, nail, tendon, mottling: strength of the details, around 1.
        nail_length: free edge of the nails in mm. `sleeve`: 1 with a sleeve; `sleeve_mm`: its edge; `sleeve_rgb`.
        background: linear RGB, (B, 3); `gradient`: its slope (B, 2); `shadow`: strength of the contact shadow.
        exposure: gain of the camera; `white_balance`: (B, 3); `noise`: SD of the sensor noise.
    """

    side: Tensor
    view: Tensor
    size: Tensor
    bone: Tensor
    width: Tensor
    palm_width: Tensor
    splay: Tensor
    flexion: Tensor
    tilt: Tensor
    rotation: Tensor
    fill: Tensor
    shift: Tensor
    cut: Tensor
    melanin: Tensor
    blood: Tensor
    pallor: Tensor
    light: Tensor
    ambient: Tensor
    crease: Tensor
    nail: Tensor
    nail_length: Tensor
    tendon: Tensor
    mottling: Tensor
    sleeve: Tensor
    sleeve_mm: Tensor
    sleeve_rgb: Tensor
    background: Tensor
    gradient: Tensor
    shadow: Tensor
    exposure: Tensor
    white_balance: Tensor
    noise: Tensor

    def as_dict(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _splay(draws: Draws) -> Tensor:
    """From closed to widely opened, with a little freedom of each finger; neighbours never cross; (B, 5)."""
    openness = draws.uniform(0.0, 1.0)[:, None] ** 0.9
    fingers = torch.lerp(
        torch.tensor(SPLAY_CLOSED_DEG).double()[None], torch.tensor(SPLAY_OPEN_DEG).double()[None], openness
    )
    fingers = fingers + draws.normal(0.0, 1.6, columns=5) * (0.3 + openness)
    for digit in range(2, 5):  # towards the little finger the direction may only turn away from the thumb
        fingers[:, digit] = torch.minimum(fingers[:, digit], fingers[:, digit - 1] - 0.5)
    thumb = 22.0 + 30.0 * torch.lerp(draws.uniform(0.0, 1.0), openness[:, 0], 0.5)
    fingers[:, 0] = thumb
    return torch.deg2rad(fingers)


def _flexion(draws: Draws) -> Tensor:
    """Nearly straight fingers, as in a hand shown open, inside [R] with the coupling [L]; (B, 5, 3) radians."""
    common = draws.uniform(0.0, 1.0)[:, None] ** 2
    pip = 4.0 + 30.0 * common + draws.uniform(0.0, 10.0, columns=5)
    mcp = -4.0 + 16.0 * common + draws.uniform(-4.0, 4.0, columns=5)
    angles = torch.stack([mcp, pip, pip * 2 / 3], dim=-1)
    angles[:, 0, 0] = draws.uniform(0.0, 26.0)  # thumb MCP, then IP: may bend back a little
    angles[:, 0, 1] = draws.uniform(-12.0, 26.0)
    angles[:, 0, 2] = 0.0
    return torch.deg2rad(angles)


def _background(draws: Draws) -> Tensor:
    """Paper, wall or cloth: mostly light, of little saturation; (B, 3) linear."""
    level = draws.uniform(0.0, 1.0) ** 0.6 * 0.75 + 0.2
    tint = draws.normal(0.0, 0.045, columns=3)
    return (level[:, None] * (1 + tint)).clamp(0.05, 0.98)


def sample_parameters(draws: Draws) -> HandParameters:
    """Sample one parameter set for each hand of `draws`; the order of the calls is part of the data's version."""
    count = len(draws.streams)
    common = draws.normal(1.0, 0.03, columns=5)[:, :, None]
    return HandParameters(
        side=draws.integer(0, 1).double(),
        view=draws.integer(0, 1).double(),
        size=draws.normal(0.955, 0.05),
        bone=common * draws.normal(1.0, 0.02, columns=20).reshape(count, 5, 4),
        width=draws.normal(1.0, 0.07)[:, None] * draws.normal(1.0, 0.02, columns=5),
        palm_width=draws.normal(1.0, 0.05),
        splay=_splay(draws),
        flexion=_flexion(draws),
        tilt=draws.normal(0.0, 0.1, columns=2),
        rotation=draws.normal(0.0, 0.17),
        fill=draws.uniform(0.84, 0.97),
        shift=draws.uniform(-1.0, 1.0, columns=2),
        cut=draws.uniform(-28.0, 4.0),
        melanin=2.95 * draws.uniform(0.0, 1.0) ** 1.6 + 0.1,
        blood=draws.normal(0.32, 0.07),
        pallor=draws.uniform(0.45, 0.8),
        light=torch.stack([draws.uniform(-0.75 * math.pi, -0.25 * math.pi), draws.uniform(0.85, 1.35)], dim=-1),
        ambient=draws.uniform(0.42, 0.6),
        crease=draws.uniform(0.5, 1.15),
        nail=draws.uniform(0.6, 1.1),
        nail_length=draws.uniform(-0.5, 1.0) ** 3 * 4.0,
        tendon=draws.uniform(0.2, 1.2),
        mottling=draws.uniform(0.3, 1.2),
        sleeve=draws.chance(0.22).double(),
        sleeve_mm=draws.uniform(-30.0, -6.0),
        sleeve_rgb=draws.uniform(0.0, 1.0, columns=3) ** 2.5 * 0.8 + 0.01,
        background=_background(draws),
        gradient=draws.normal(0.0, 0.06, columns=2),
        shadow=draws.uniform(0.1, 0.6),
        exposure=draws.normal(1.0, 0.06),
        white_balance=draws.normal(1.0, 0.02, columns=3),
        noise=draws.uniform(0.003, 0.014),
    )


def stand_upright(p: HandParameters) -> None:
    """Frame hands, in place, as our crops of photographs do: centred, filling the frame, within about 8 degrees."""
    p.rotation.mul_(0.4)
    p.shift.zero_()
    p.fill.fill_(0.95)
