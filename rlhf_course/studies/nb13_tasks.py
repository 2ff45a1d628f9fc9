"""Three tasks on the top layer of one BERT: which λ each wants, and what another's costs it."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

from rlhf_lib import text
from rlhf_lib.text.entities import EntityTask
from rlhf_lib.text.questions import QuestionTask

from . import Study, short

LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SEEDS = (0, 1, 2)
STEPS = {"rlhf": 5, "adamw": 8}
OPTIONS: dict[str, dict[str, Any]] = {
    "rlhf": {"damping": 1.0, "max_iter": 6},
    "adamw": {"coupled": True, "lr": 2e-4, "batch_size": 8},
}
# Data set, kind of model, task, training and validation samples, options of the task.
TASKS: dict[str, tuple] = {
    "sentiment": (
        "course-reviews",
        "classification",
        text.ClassificationTask,
        48,
        48,
        {"max_length": 32},
    ),
    "entities": ("course-entities", "ner", EntityTask, 40, 40, {"max_length": 40}),
    "questions": ("course-questions", "qa", QuestionTask, 16, 16, {"max_length": 192}),
}


def runs():
    for task, seed, method, value in itertools.product(TASKS, SEEDS, STEPS, LAMBDAS):
        yield {"task": task, "method": method, "lambda": value, "seed": seed}


@lru_cache(maxsize=1)
def make(name: str, seed: int) -> text.Task:
    """A task of the study on the top layer of the embedded BERT, its samples drawn by the seed."""
    data, kind, build, n, held_out, options = TASKS[name]
    splits = text.load_dataset(data)
    training, validation = splits[0].subset(n, seed=seed), splits[1].subset(held_out, seed=seed)
    labels = {} if kind == "qa" else {"num_labels": len(training.label_names)}
    model, tokenizer = text.load_model(kind, pooling="model", seed=seed, **labels)
    return build(model, tokenizer, training, validation, top_layers=1, **options)


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Losses and accuracies on both sets per step or epoch, F1 at the end, distance, price."""
    method, seed = settings["method"], settings["seed"]
    task = make(settings["task"], seed)
    options = {**OPTIONS[method], "seed": seed}
    if method == "rlhf":
        options["curvature_size"] = task.samples // 2
    records = list(
        text.finetune(
            task,
            method,
            steps=STEPS[method],
            lambda_reg=settings["lambda"],
            regularizer="l2sp",
            **options,
        )
    )
    last = records[-1]
    terms = sum(task.count(batch) for batch in text.batches(task.training, task.micro_batch))
    return short(
        {
            "train_loss": [r.train_loss for r in records],
            "val_loss": [r.val_loss for r in records],
            "val_accuracy": last.val_accuracy,
            "val_f1": last.extra.get("val_f1", last.val_accuracy),
            "distance": task.distance(),
            "cost": last.cost / terms,
        }
    )


STUDY = Study(
    about="Sentiment, named entities and questions on the top layer of MiniLM, over λ.",
    runs=runs,
    run=run,
    small={"task": "sentiment", "method": "adamw", "lambda": 0.1, "seed": 0},
)
