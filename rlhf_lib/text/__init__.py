"""Real language models on real texts: load, encode, and train the top layers quickly."""

from .cached import CachedTop, batches
from .datasets import Splits, TextDataset, encode, load_dataset
from .models import load_model, verify_embedded

__all__ = [
    "CachedTop",
    "Splits",
    "TextDataset",
    "batches",
    "encode",
    "load_dataset",
    "load_model",
    "verify_embedded",
]
