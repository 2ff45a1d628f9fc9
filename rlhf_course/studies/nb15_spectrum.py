"""Ends and density of the whole BERT's spectra, before and after fine-tuning with AdamW."""

from __future__ import annotations

from typing import Any

import torch

from rlhf_lib import GaussNewtonOperator, HessianOperator, lanczos, text

from . import Study

SAMPLES, TOKENS, STEPS, EPOCHS = 16, 32, 20, 4
MATRICES = {"H": HessianOperator, "G": GaussNewtonOperator}


def runs():
    for epochs in (0, EPOCHS):
        for matrix in MATRICES:
            yield {"epochs": epochs, "matrix": matrix, "seed": 0}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Ritz values of Lanczos steps from random signs, their weights in the density, and bounds."""
    seed = settings["seed"]
    reviews = text.load_dataset("course-reviews", split="train").subset(96, seed=seed)
    model, tokenizer = text.load_model("classification", seed=seed)
    task = text.ClassificationTask(model, tokenizer, reviews, reviews, max_length=TOKENS)
    if settings["epochs"]:
        list(text.finetune(task, "adamw", steps=settings["epochs"], seed=seed))
    batch = {key: value[:SAMPLES] for key, value in task.training.items()}
    params = [p for _, p in task.trained()]
    operator = MATRICES[settings["matrix"]](lambda: task.loss_fn(batch), params)
    generator = torch.Generator().manual_seed(seed)
    signs = 2.0 * torch.randint(2, operator.shape[:1], generator=generator) - 1
    found = lanczos(operator, STEPS, start=signs)
    return {
        "parameters": len(signs),
        "loss": round(operator.loss, 5),
        "ritz_values": [float(f"{x:.5g}") for x in found.ritz_values.tolist()],
        "bounds": [float(f"{x:.3g}") for x in found.bounds.tolist()],
        "weights": [float(f"{x:.5g}") for x in found.first_components.square().tolist()],
    }


STUDY = Study(
    about=f"Lanczos, {STEPS} products, on the whole BERT: H and G on {SAMPLES} reviews.",
    runs=runs,
    run=run,
)
