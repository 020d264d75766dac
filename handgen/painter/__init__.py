"""Painters that write programs of brush strokes: action tables, engines, programs."""
