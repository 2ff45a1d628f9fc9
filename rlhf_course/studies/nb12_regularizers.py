"""Every regularizer against overfitting, at one tuning budget: RLHF and AdamW on 200 sentences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any

from rlhf_lib import text
from rlhf_lib.objective import assign, flatten
from rlhf_lib.text.freezing import freeze
from rlhf_lib.text.measures import brier_score, calibration_error, measure_weights, outputs_of

from . import Study, data_file, least, short

SENTENCES, SELECTION, TEST, STEPS = 200, 100, 300, {"rlhf": 5, "adamw": 6}
SEEDS = (0, 1, 2, 3, 4)
TUNING_SEED = 100
# Share of wrong training labels by data set.
DATA = {"reviews-20": 0.2, "sst2": 0.0, "reviews-40": 0.4, "reviews-0": 0.0}
RLHF = {"damping": 0.1, "max_iter": 8, "solver": "auto", "curvature_size": 32}
LR = 1e-4
# Five values each: of lambda, or of what else the method has.
GRID: dict[str, tuple] = {
    "rlhf none": (0.03, 0.1, 0.3, 1.0, 3.0),
    "rlhf l1": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3),
    "rlhf l2": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
    "rlhf elastic-net": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3),
    "rlhf pseudo-huber": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3),
    "rlhf l2sp": (0.03, 0.1, 0.3, 1.0, 3.0),
    "rlhf l1sp": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "rlhf group-lasso": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3),
    "adamw none": (2e-5, 5e-5, 1e-4, 2e-4, 5e-4),
    "adamw decay": (0.1, 1.0, 10.0, 30.0, 100.0),
    "adamw dropout": (0.1, 0.2, 0.3, 0.5, 0.7),
    "adamw smoothing": (0.05, 0.1, 0.2, 0.4, 0.6),
    "adamw freezing": ("encoder", "weights", "body", "biases", "normalizations"),
    "adamw l2sp": (0.03, 0.1, 0.3, 1.0, 3.0),
    "adamw l1sp": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3),
}
# What is left free is small and takes longer steps.
FROZEN_LR = {"encoder": 3e-4, "weights": 1e-3, "body": 1e-2}
# Early stopping takes the runs without a penalty, at their step of least selection loss.
STOPPED = {"rlhf stopped": "rlhf none", "adamw stopped": "adamw none"}
METHODS = (*GRID, *STOPPED)


def runs() -> Iterator[dict[str, Any]]:
    for data in DATA:
        for method, values in GRID.items():
            for value in values:
                yield {"method": method, "data": data, "value": value, "seed": TUNING_SEED}


def choose(tried: list[dict[str, Any]]) -> dict[str, dict[str, float | str]]:
    """The value of least selection loss, by data set and method.

    The loss is that at the end of the run, and for early stopping the least one on the way.
    """
    moments = {
        moment: least(
            tried, itemgetter("data", "method"), lambda run, m=moment: run["result"][m]["val_loss"]
        )
        for moment in ("end", "best")
    }
    return {
        data: {
            method: moments["best" if method in STOPPED else "end"][data, run_of(method)]
            for method in METHODS
        }
        for data in DATA
    }


def judge(chosen: dict[str, dict[str, float | str]]) -> Iterator[dict[str, Any]]:
    for data, values in chosen.items():
        # AdamW bare at the learning rate of its cures: what their losses are compared with.
        wanted = [*values.items(), ("adamw none", LR)]
        different = dict.fromkeys((run_of(method), value) for method, value in wanted)
        for seed in SEEDS:
            for method, value in different:
                yield {"method": method, "data": data, "value": value, "seed": seed}


def run_of(method: str) -> str:
    """The method of GRID whose runs this one takes."""
    return STOPPED.get(method, method)


def fresh(data: str, method: str, value: float | str) -> list[dict[str, Any]]:
    """Settings of a method's runs with the fresh seeds."""
    settings = {"method": run_of(method), "data": data, "value": value}
    return [settings | {"seed": seed} for seed in SEEDS]


class _SelectionOnly(text.ClassificationTask):
    """The training set is scored at the end alone, to save a third of an epoch at each step."""

    def evaluate(self) -> dict[str, float]:
        loss, accuracy = self.score(self.validation)
        return {"val_loss": loss, "val_accuracy": accuracy}


@lru_cache(maxsize=1)
def _task(data: str, seed: int) -> tuple[_SelectionOnly, dict]:
    """The task with the selection set for validation, and the test set."""
    if data == "sst2":
        whole = text.load_dataset(data_file("sst2_train.csv"))
        drawn = whole.subset(SENTENCES + SELECTION, seed=seed)
        training, selection = _split(drawn, SENTENCES, seed)
        test = text.load_dataset(
            data_file("sst2_validation.csv"), label_names=whole.label_names
        ).subset(TEST, seed=0)
    else:
        both = text.load_dataset("course-reviews")
        training = both.train.subset(SENTENCES, seed=seed)
        selection, test = _split(both.validation, SELECTION, seed)
    training = training.with_label_noise(DATA[data], seed=seed)
    model, tokenizer = text.load_model("classification", pooling="model", seed=seed)
    options = {"top_layers": 1, "max_length": 28 if data == "sst2" else 20}
    task = _SelectionOnly(model, tokenizer, training, selection, **options)
    unseen = text.ClassificationTask(model, tokenizer, training, test, **options).validation
    return task, unseen


def _split(data: text.TextDataset, n: int, seed: int):
    """n rows and the others; no text is in both."""
    first = data.subset(n, seed=seed)
    mine = set(first.texts)
    return first, data.take([i for i, t in enumerate(data.texts) if t not in mine])


def options_of(method: str, value: float | str) -> dict[str, Any]:
    """What `finetune` gets for a method of GRID at one of its values."""
    optimizer, kind = method.split()
    if optimizer == "rlhf":
        if kind == "none":
            return RLHF | {"damping": value}
        few = {"max_iter": 4} if kind == "group-lasso" else {}  # each iteration takes a whole prox
        return RLHF | {"regularizer": kind, "lambda_reg": value} | few
    if kind in ("l2sp", "l1sp"):
        return {"lr": LR, "regularizer": kind, "lambda_reg": value, "coupled": True}
    return {
        "none": {"lr": value},
        "decay": {"lr": LR, "lambda_reg": value},
        "dropout": {"lr": LR, "dropout": value},
        "smoothing": {"lr": LR},
        "freezing": {"lr": FROZEN_LR.get(value, LR)},
    }[kind]


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Selection loss at each step; losses, calibration and weights at the end and at the best.

    Runs of the tuning seed have the selection loss alone.
    """
    method, value = settings["method"], settings["value"]
    optimizer = method.split()[0]
    task, unseen = _task(settings["data"], settings["seed"])
    freeze(task.module, [value] if method == "adamw freezing" else [])
    task.label_smoothing = value if method == "adamw smoothing" else 0.0
    records = text.finetune(
        task, optimizer, steps=STEPS[optimizer], seed=settings["seed"], **options_of(method, value)
    )
    params = [p for _, p in task.trained()]
    steps, best, theta = [], None, None
    for r in records:
        steps.append(
            {
                "step": r.step,
                "val_loss": r.val_loss,
                "val_accuracy": r.val_accuracy,
                "cost": r.cost / SENTENCES,
            }
        )
        if best is None or r.val_loss < best["val_loss"]:
            best, theta = steps[-1], flatten(p.detach() for p in params).clone()
    end = steps[-1]
    if settings["seed"] != TUNING_SEED:  # tuning does not look at the test set
        end = _measure(task, unseen) | end
        assign(params, theta)
        best = _measure(task, unseen) | best
    freeze(task.module, [])
    task.reset()
    # By column: hundreds of runs of dicts would be too large a file.
    columns = {key: [s[key] for s in steps] for key in ("val_loss", "val_accuracy", "cost")}
    return short({"steps": columns, "end": end, "best": best})


def _measure(task, unseen) -> dict[str, float]:
    logits, labels = outputs_of(task, unseen), unseen["labels"]
    train_loss, train_accuracy = task.score(task.training)
    test_loss, test_accuracy = task.score(unseen)
    return {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "ece": calibration_error(logits, labels),
        "brier": brier_score(logits, labels),
        **measure_weights(task),
    }


STUDY = Study(
    about=f"Regularizers at five tuning runs each, RLHF and AdamW, {SENTENCES} sentences, the top "
    "layer of MiniLM.",
    runs=runs,
    run=run,
    choose=choose,
    judge=judge,
    files=("sst2_train.csv", "sst2_validation.csv"),
    small={"method": "adamw none", "data": "reviews-20", "value": 1e-4, "seed": TUNING_SEED},
)
