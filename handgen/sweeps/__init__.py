"""Sweeps over settings: wandb's YAML, wandb's agents, and a server on this machine for those without an account."""
