"""Notebook 10's runs of the whole model: all 22.7 million parameters on its 200 noisy reviews."""

from __future__ import annotations

from typing import Any

import torch

from rlhf_lib import linearize, text
from rlhf_lib.record import Record

from . import Study, short

STEPS, LINEAR_STEPS, PROBE_LAMBDA = 8, 24, 0.2
RATES = (5e-5, 2e-4)  # of AdamW
LAMBDAS = (0.0, 0.1, 1.0, 10.0)  # of the linearized model
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
    yield {"method": "probe", "probe_lambda": PROBE_LAMBDA}
    for start in ("zero", "probe"):
        for rate in RATES:
            settings = {"method": "adamw", "steps": STEPS, "lr": rate, "start": start, "seed": 0}
            yield settings | ({"probe_lambda": PROBE_LAMBDA} if start == "probe" else {})
    for value in (0.0, 1.0):
        yield {
            "method": "rlhf",
            "steps": STEPS,
            "lambda_reg": value,
            "damping": 1.0,
            "max_iter": 8,
            "curvature_size": 32,
            "start": "probe",
            "probe_lambda": PROBE_LAMBDA,
            "seed": 0,
        }
    for value in LAMBDAS:
        yield {"method": "linearized", "lambda_reg": value, "damping": 0.3, "steps": LINEAR_STEPS}


def _task() -> text.ClassificationTask:
    model, tokenizer = text.load_model("classification", name="minilm")
    reviews = text.load_dataset("course-reviews")
    training = reviews.train.subset(200, seed=0).with_label_noise(0.2, seed=0)
    return text.ClassificationTask(model, tokenizer, training, reviews.validation)


_linear: dict[str, Any] = {}  # the Gram matrix of all weights takes minutes: once a process


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """The records of the run; RLHF and the linearized model with L2 towards the start."""
    options = dict(settings)
    method = options.pop("method")
    found: dict[str, Any] = {}
    if method == "probe":
        records = [text.probe(_task(), PROBE_LAMBDA)]
    elif method == "linearized":
        if not _linear:
            task = _task()
            text.start_head(task, "probe", PROBE_LAMBDA)
            _linear["model"] = linearize(task, include_all=True)
        records = list(_linear["model"].run(**options))
        found["set-up in gradients"] = _linear["model"].cost
    else:
        records = list(text.finetune(_task(), method, **options))
    return short(found | {"records": [_row(record) for record in records]})


def _row(record: Record) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in KEPT}
    return {k: v.item() if isinstance(v, torch.Tensor) else v for k, v in row.items()}


STUDY = Study(
    about="All of BERT on 200 reviews with 20 % wrong labels: a probe, AdamW, RLHF, and the model "
    "linearized at the probe.",
    runs=runs,
    run=run,
)
