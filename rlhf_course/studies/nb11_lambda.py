"""Choosing lambda for BERT's top layer from 40 reviews: one path of fits to convergence a run."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from rlhf_lib import text
from rlhf_lib.regularizers import L2SP
from rlhf_lib.select import stratified_folds
from rlhf_lib.text.lambda_path import LambdaPathFit

from . import Study

REVIEWS, FOLDS = 40, 5
LAMBDAS = (3.0, 1.0, 0.3, 0.1, 0.03)
SEEDS = (0, 1, 2, 3, 4)
# Exact steps, as many as each λ needs; `settled` is the same with twice as many. Every weight is
# held: the top layer's biases alone fit forty reviews, and go on for hundreds of steps.
FIT = {
    "regularizer": L2SP(include_all=True),
    "steps": 6,
    "damping": 0.1,
    "solver": "dual",
    "curvature_size": None,
    "start": "zero",
}


def runs():
    yield {"part": "unseen"}
    yield {"part": "settled"}
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
    model, tokenizer = text.load_model("classification")
    # Its validation data is not used: the folds are parts of its rows.
    return text.ClassificationTask(
        model, tokenizer, rows, few.subset(2), top_layers=1, max_length=22
    )


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Scores of one path: on a fold of the few reviews, or fitted to all of them, on the unseen."""
    task, options = _task(), dict(FIT)
    if settings["part"] == "settled":
        options["steps"] *= 2
    if settings["part"] in ("unseen", "settled"):
        train, judges = torch.arange(REVIEWS), torch.arange(REVIEWS, task.samples)
    else:
        few = task.training["labels"][:REVIEWS]
        train, judges = stratified_folds(few, FOLDS, settings["seed"])[settings["fold"]]
    path = LambdaPathFit(task, **options)(train, judges, list(LAMBDAS), settings.get("seed", 0))
    scores = [{name: float(f"{value:.5g}") for name, value in score.items()} for score in path]
    return {"lambdas": list(LAMBDAS), "scores": scores}


STUDY = Study(
    about=f"The top layer of BERT on {REVIEWS} reviews with L2-SP: {FOLDS} folds, "
    f"{len(SEEDS)} seeds, and what the unseen reviews say.",
    runs=runs,
    run=run,
)
