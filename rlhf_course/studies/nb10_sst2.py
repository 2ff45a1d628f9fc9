"""The whole BERT on few SST-2 sentences with wrong labels: AdamW, and RLHF with three penalties."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import Any

from rlhf_lib import text

from . import Study, data_file, least, short

SENTENCES, NOISE, STEPS = 400, 0.2, 8
SEEDS = (0, 1, 2)
TUNING_SEED = 100
RLHF = {"damping": 1.0, "max_iter": 8, "curvature_size": 32}
# Tried with the tuning seed alone.
GRID = {
    "adamw": ("lr", (2e-5, 5e-5, 1e-4)),
    "l2sp": ("lambda_reg", (0.05, 0.2, 0.5)),
    "l1": ("lambda_reg", (1e-6, 1e-5)),
    "l1sp": ("lambda_reg", (1e-5, 1e-4)),
}
ARTICLE = 1e-4  # the article's lambda for its L1


def runs():
    for method, (_, values) in GRID.items():
        for value in values:
            yield {"method": method, "value": value, "seed": TUNING_SEED}


def selection_loss(run: dict[str, Any]) -> float:
    """What a value is chosen by: AdamW may stop at its best epoch; RLHF is judged at its end."""
    losses = [row["val_loss"] for row in run["result"]["steps"]]
    return min(losses) if run["settings"]["method"] == "adamw" else losses[-1]


def choose(tried: list[dict[str, Any]]) -> dict[str, float]:
    """The value of least selection loss for each method."""
    return least(tried, itemgetter("method"), selection_loss)


def judge(chosen: dict[str, float]):
    for seed, method in itertools.product(SEEDS, chosen):
        yield {"method": method, "value": chosen[method], "seed": seed}
    for seed in SEEDS:
        yield {"method": "l1", "value": ARTICLE, "seed": seed}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Losses and accuracies per step on training, selection and test sentences."""
    method, seed = settings["method"], settings["seed"]
    name, _ = GRID[method]
    whole = text.load_dataset(data_file("sst2_train.csv"))
    drawn = whole.subset(SENTENCES + 200, seed=seed)
    mine = set(drawn.subset(SENTENCES, seed=seed).texts)
    inside = [i for i, t in enumerate(drawn.texts) if t in mine]
    outside = [i for i, t in enumerate(drawn.texts) if t not in mine]
    training = drawn.take(inside).with_label_noise(NOISE, seed=seed)
    selection = drawn.take(outside)
    test = text.load_dataset(
        data_file("sst2_validation.csv"), label_names=whole.label_names
    ).subset(SENTENCES, seed=0)
    model, tokenizer = text.load_model("classification", pooling="model", seed=seed)
    task = text.ClassificationTask(model, tokenizer, training, selection, max_length=48)
    unseen = text.ClassificationTask(model, tokenizer, training, test, max_length=48).validation
    options: dict[str, Any] = {name: settings["value"], "steps": STEPS, "seed": seed}
    if method == "adamw":
        records = text.finetune(task, "adamw", lambda_reg=0.01, **options)
    else:
        records = text.finetune(task, "rlhf", regularizer=method, **options, **RLHF)
    steps = []
    for r in records:
        test_loss, test_accuracy = task.score(unseen)
        row = {
            "step": r.step,
            "train_loss": r.train_loss,
            "train_accuracy": r.train_accuracy,
            "val_loss": r.val_loss,
            "val_accuracy": r.val_accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "penalty": r.penalty,
            "cost": r.cost / SENTENCES,
            "distance": task.distance(),
            "damping": r.damping,
            "rho": r.rho,
            "products": r.products,
        }
        steps.append(short(row))
    zeros = sum(int((p == 0).sum()) for _, p in task.trained())
    return {"steps": steps, "zeros": zeros, "weights": sum(p.numel() for _, p in task.trained())}


STUDY = Study(
    about=f"All of BERT on {SENTENCES} SST-2 sentences with {NOISE:.0%} wrong labels.",
    runs=runs,
    run=run,
    choose=choose,
    judge=judge,
    files=("sst2_train.csv", "sst2_validation.csv"),
)
