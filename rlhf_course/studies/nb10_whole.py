"""Notebook 10's run of the whole model: all 22.7 million parameters on its 200 noisy reviews."""

from __future__ import annotations

from typing import Any

from rlhf_lib import text

from . import Study

STEPS = 8
KEPT = (
    "step",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "cost",
    "seconds",
    "damping",
    "rho",
    "products",
    "reason",
)


def runs():
    yield {"method": "adamw", "steps": STEPS, "lr": 5e-5, "seed": 0}
    yield {
        "method": "rlhf",
        "steps": STEPS,
        "lambda_reg": 0.5,
        "damping": 1.0,
        "max_iter": 8,
        "curvature_size": 32,
        "seed": 0,
    }


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """The records of the run; RLHF with L2 towards the pre-trained weights."""
    model, tokenizer = text.load_model("classification", name="minilm", pooling="model")
    reviews = text.load_dataset("course-reviews")
    training = reviews.train.subset(200, seed=0).with_label_noise(0.2, seed=0)
    task = text.ClassificationTask(model, tokenizer, training, reviews.validation)
    records = text.finetune(task, **settings)
    return {"records": [{name: getattr(record, name) for name in KEPT} for record in records]}


STUDY = Study(
    about="All of BERT on 200 reviews with 20 % wrong labels, by AdamW and by RLHF.",
    runs=runs,
    run=run,
)
