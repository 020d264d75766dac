"""Keypoints learnt without labels: IMM and its KeyNet, which agents use alone."""

from handgen.keypoints.module import IMM
from handgen.keypoints.networks import KeyNet

__all__ = ["IMM", "KeyNet"]
