"""Hands: a procedural model with its malformations, judges of anatomy, and metrics of generated hands."""

from handgen.anatomy.malformations import KINDS, VALID
from handgen.anatomy.renderer import RENDERER_VERSION, Rendering, render_hands

__all__ = ["KINDS", "RENDERER_VERSION", "VALID", "Rendering", "render_hands"]
