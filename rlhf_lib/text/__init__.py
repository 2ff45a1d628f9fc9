"""Real language models on real texts: load, encode, and train, whole or their top layers."""

from .cached import CachedTop, batches
from .classification import ClassificationTask
from .datasets import EntityDataset, QuestionDataset, Splits, TextDataset, encode, load_dataset
from .entities import EntityTask
from .finetune import finetune
from .freezing import freeze
from .lambda_path import LambdaPathFit
from .language import LanguageModelTask
from .models import load_model, verify_embedded
from .multi_label import MultiLabelTask
from .pooling import Pooling
from .probe import probe, start_head
from .progress import progress
from .questions import QuestionTask
from .regression import RegressionTask
from .samples import Samples
from .saving import load_task
from .task import Task
from .texts import TextPair

__all__ = [
    "CachedTop",
    "ClassificationTask",
    "EntityDataset",
    "EntityTask",
    "LambdaPathFit",
    "LanguageModelTask",
    "MultiLabelTask",
    "Pooling",
    "QuestionDataset",
    "QuestionTask",
    "RegressionTask",
    "Samples",
    "Splits",
    "Task",
    "TextDataset",
    "TextPair",
    "batches",
    "encode",
    "finetune",
    "freeze",
    "load_dataset",
    "load_model",
    "load_task",
    "probe",
    "progress",
    "start_head",
    "verify_embedded",
]
