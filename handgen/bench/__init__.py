"""Side-by-side speed measurements, one module per comparison: ``python -m handgen.bench [what ...]``."""
