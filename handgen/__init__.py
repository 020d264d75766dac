"""handgen: generative models and reinforcement learning that draw anatomically correct human hands."""

__version__ = "0.1.0"
