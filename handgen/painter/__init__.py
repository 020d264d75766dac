"""Painters that write programs of brush strokes (SPIRAL)."""

from handgen.registration import register_envs

register_envs(
    {"handgen/Paint-v0": "handgen.painter.env:PaintEnv", "handgen/Scenes-v0": "handgen.painter.env:ScenesEnv"}
)
