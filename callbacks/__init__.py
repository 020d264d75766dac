"""Habits that any method can wear: one Lightning callback per file, named in an experiment's YAML."""
