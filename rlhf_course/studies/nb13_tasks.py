"""Three tasks on the top layer of one BERT: which λ each wants, and what fine-tuning adds to it.

λ, damping and learning rate are searched together for each task, with seeds of their own and on
samples that nothing is judged by. The judging seeds run what was chosen, and a grid of λ beside it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch

from rlhf_lib import text

from ..experiments.nb12_cures import losses_of
from ..experiments.nb13_tasks import TASKS, deal, every_loss, make
from ..recorded import results
from ..verdicts.comparison import Comparison
from . import Question, Study, short
from .tuning import Axis, Search, Settings, Tuned

LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
TUNING_SEEDS, LOOKS = (100, 101), (5, 10)
SEEDS = tuple(range(LOOKS[-1]))
GRID_SEEDS = SEEDS[: LOOKS[0]]
STEPS = {"rlhf": 5, "adamw": 28}  # either costs 25 to 31 gradients
FIXED: dict[str, dict[str, Any]] = {
    "rlhf": {"max_iter": 6},
    "adamw": {"coupled": True, "batch_size": 8, "schedule": "linear"},
}
STRENGTH = Axis(0.3, 3.0, low=0.01, high=100.0)  # beyond, the penalty is all, or nothing
AXES = {
    "rlhf": {"lambda": STRENGTH, "damping": Axis(1.0, 3.0, low=0.01, high=1000.0)},
    "adamw": {"lambda": STRENGTH, "lr": Axis(2e-4, 3.0, low=1e-6)},
    "probe": {"lambda": Axis(0.1, 2.0)},
}
PROBED = tuple(name for name, task in TASKS.items() if task.probed)
METHODS = tuple(
    (task, method) for task in TASKS for method in AXES if method != "probe" or task in PROBED
)


def search() -> Search:
    """The values of each method on each task, by the loss where the run ends."""
    tuned = {
        f"{task} {method}": Tuned(
            {"task": task, "method": method}, AXES[method], lambda r: r["val_loss"][-1]
        )
        for task, method in METHODS
    }
    return Search(tuned, TUNING_SEEDS, tries=9)


SEARCH = search()


def judge(chosen: Mapping[str, Settings]) -> Iterator[Settings]:
    """By seed what was chosen, and for the first seeds the grid of λ, each once."""
    for seed in SEEDS:
        wanted = list(chosen.values())
        if seed in GRID_SEEDS:
            wanted += [
                settings | {"lambda": value}
                for settings in chosen.values()
                if settings["method"] != "probe"
                for value in LAMBDAS
            ]
        for settings in {str(s): s for s in wanted}.values():
            yield settings | {"seed": seed}


@lru_cache(maxsize=2)
def _task(name: str, seed: int) -> text.Task:
    return make(name, seed, tunes=seed in TUNING_SEEDS)


def rows(settings: Settings) -> dict[str, list]:
    """The samples of a run by role."""
    seed = settings["seed"]
    training, unseen = deal(settings["task"], seed, tunes=seed in TUNING_SEEDS)
    return {"train": _names(training), "unseen": _names(unseen)}


def _names(data: Any) -> list:
    if isinstance(data, text.TextDataset):
        return list(data.texts)
    return [str(sample) for sample in data]


def run(settings: Settings) -> dict[str, Any]:
    """Losses by step, scores at the end, price; judging runs also have the loss of each sample.

    `val_loss` has both ends alone for AdamW, and the end alone for the probe.
    """
    options = dict(settings)
    name, method, seed = (options.pop(k) for k in ("task", "method", "seed"))
    task, value = _task(name, seed), options.pop("lambda")
    if method == "probe":
        records = [text.start_head(task, "probe", value)]
        records[0] = records[0].with_(**task.evaluate())
    else:
        records = []
        options |= {"start": "probe" if name in PROBED else "as_loaded"} | FIXED[method]
        if method == "rlhf":
            options["curvature_size"] = task.samples // 2
        for record in text.finetune(
            task,
            method,
            steps=STEPS[method],
            lambda_reg=value,
            regularizer="l2sp",
            seed=seed,
            **options,
        ):
            records.append(record)
            task.scored = method == "rlhf" or record.step == STEPS[method] - 1
        task.scored = True
    last = records[-1]
    terms = sum(task.count(batch) for batch in text.batches(task.training, task.micro_batch))
    found = {
        "train_loss": [records[0].train_loss, last.train_loss],
        "val_loss": [r.val_loss for r in records if r.val_loss is not None],
        "cost": last.cost / terms,
    }
    if seed not in TUNING_SEEDS:
        losses = every_loss(task)
        found |= {
            "score": task.measures.get("val_f1", last.val_accuracy),
            "distance": task.distance(),
            "losses": base64.b64encode(losses.half().numpy().tobytes()).decode(),
        }
    task.reset()
    return short(found)


def judged(document: Mapping[str, Any], task: str, method: str, seeds=SEEDS) -> list[dict]:
    """What the chosen values of a method gave, one for each seed."""
    chosen = STUDY.chosen(document)[f"{task} {method}"]
    return results(document, [chosen | {"seed": seed} for seed in seeds])


def gain(document: Mapping[str, Any], task: str, other: str | None, seeds) -> Comparison:
    """How much lower RLHF ends than another method, or than where it began: loss on unseen samples.

    All seeds are judged on the same samples, so that these are a draw, too.
    """
    ours = judged(document, task, "rlhf", seeds)
    if other is None:
        gains = tuple(r["val_loss"][0] - r["val_loss"][-1] for r in ours)
        return Comparison(f"{task}, RLHF, loss on unseen samples, before less after", gains, "nats")
    theirs = judged(document, task, other, seeds)
    pairs = list(zip(ours, theirs, strict=True))
    return Comparison(
        f"{task}, RLHF against {NAMES[other]}, loss on unseen samples",
        tuple(b["val_loss"][-1] - a["val_loss"][-1] for a, b in pairs),
        "nats",
        by_item=tuple(
            torch.stack([losses_of(b) - losses_of(a) for a, b in pairs]).mean(0).tolist()
        ),
        primary=other == "probe",
    )


NAMES = {"rlhf": "RLHF", "adamw": "AdamW", "probe": "the probe"}
# What stands for a task that was learnt: more than a probe knows, or, without one, than the start.
LEARNT = {task: "probe" if task in PROBED else None for task in TASKS}

STUDY = Study(
    about="Sentiment, named entities and questions on the top layer of MiniLM, over λ.",
    run=run,
    search=SEARCH,
    judge=judge,
    looks=LOOKS,
    questions=tuple(
        Question(task, lambda d, seeds, task=task: [gain(d, task, LEARNT[task], seeds)])
        for task in TASKS
    ),
    rows=rows,
    shared=("train",),
    small={"task": "sentiment", "method": "rlhf", "lambda": 0.3, "damping": 1.0, "seed": 100},
)
