"""Choosing lambda for BERT's top layer from 40 reviews: one path of warm-started fits a run."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from rlhf_lib import text
from rlhf_lib.select import stratified_folds
from rlhf_lib.text.lambda_path import LambdaPathFit

from . import Study

REVIEWS, FOLDS = 40, 5
LAMBDAS = (1.0, 0.3, 0.1, 0.03)
SEEDS = (0, 1, 2, 3, 4)
FIT = {"regularizer": "l2sp", "steps": 2, "damping": 0.3, "max_iter": 5, "curvature_size": None}


def runs():
    yield {"part": "unseen"}
    for seed in SEEDS:
        for fold in range(FOLDS):
            yield {"part": "fold", "seed": seed, "fold": fold}


@cache
def _task() -> text.ClassificationTask:
    """The few reviews first, then the 400 unseen ones, as one set of rows."""
    train, unseen = text.load_dataset("course-reviews")
    few = train.subset(REVIEWS, seed=0)
    rows = text.TextDataset(
        few.texts + unseen.texts,
        few.labels + unseen.labels,
        few.label_names,
        few.name,
        few.clean_labels + unseen.clean_labels,
    )
    model, tokenizer = text.load_model("classification", pooling="model")
    # Its validation data is not used: the folds are parts of its rows.
    return text.ClassificationTask(
        model, tokenizer, rows, few.subset(2), top_layers=1, max_length=48
    )


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Scores of one path: on a fold of the few reviews, or fitted to all of them, on the unseen."""
    task = _task()
    if settings["part"] == "unseen":
        train, judges = torch.arange(REVIEWS), torch.arange(REVIEWS, task.samples)
    else:
        few = task.training["labels"][:REVIEWS]
        train, judges = stratified_folds(few, FOLDS, settings["seed"])[settings["fold"]]
    path = LambdaPathFit(task, **FIT)(train, judges, list(LAMBDAS), settings.get("seed", 0))
    scores = [{name: float(f"{value:.5g}") for name, value in score.items()} for score in path]
    return {"lambdas": list(LAMBDAS), "scores": scores}


STUDY = Study(
    about=f"The top layer of BERT on {REVIEWS} reviews with L2-SP: {FOLDS} folds, "
    f"{len(SEEDS)} seeds, and what the unseen reviews say.",
    runs=runs,
    run=run,
)
