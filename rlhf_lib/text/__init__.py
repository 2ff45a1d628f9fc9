"""Real language models on real texts: load, encode, and train the top layers quickly."""

from .cached import CachedTop, batches
from .classification import ClassificationTask
from .datasets import Splits, TextDataset, encode, load_dataset
from .finetune import finetune
from .models import load_model, verify_embedded
from .task import Task

__all__ = [
    "CachedTop",
    "ClassificationTask",
    "Splits",
    "Task",
    "TextDataset",
    "batches",
    "encode",
    "finetune",
    "load_dataset",
    "load_model",
    "verify_embedded",
]
