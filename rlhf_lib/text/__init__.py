"""Real language models on real texts: load, encode, and train the top layers quickly."""

from .cached import CachedTop, batches
from .datasets import Splits, TextDataset, encode, load_dataset
from .models import load_model, verify_embedded
from .tasks import ClassificationTask, finetune

__all__ = [
    "CachedTop",
    "ClassificationTask",
    "Splits",
    "TextDataset",
    "batches",
    "encode",
    "finetune",
    "load_dataset",
    "load_model",
    "verify_embedded",
]
