"""Smaller models: prune, quantize, distil; and what each costs in bytes, time and accuracy."""

from .distill import distill, distillation_loss, student_of
from .files import load, save
from .latency import Latency, latency
from .masks import make_permanent
from .prune import keep_masks, prune
from .quantize import quantize
from .surgeon import optimal_brain_surgeon
from .weights import Sparsity, sparsity

__all__ = [
    "Latency",
    "Sparsity",
    "distill",
    "distillation_loss",
    "keep_masks",
    "latency",
    "load",
    "make_permanent",
    "optimal_brain_surgeon",
    "prune",
    "quantize",
    "save",
    "sparsity",
    "student_of",
]
