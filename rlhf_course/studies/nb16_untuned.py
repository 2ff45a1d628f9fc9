"""Few labelled texts and nobody who tunes: what each method loses when its setting is off."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

from rlhf_lib import linearize, select_lambda, text

from ..experiments.spending import affordable
from . import Study, data_file, short

SENTENCES, TEST, BUDGET = 64, 400, 10  # the last in gradients of the training set
SEEDS = tuple(range(5))
DATA = {  # training and test file of each data set that is not in the project
    "reviews": (),
    "sst2": ("sst2_train.csv", "sst2_validation.csv"),
    "trec": ("trec_train.csv", "trec_test.csv"),
}
NOISES = (0.0, 0.2)
AWAY = (1 / 10, 10**-0.5, 1.0, 10**0.5, 10.0)  # times what a method comes with
# By name: of finetune, and of the one number that is moved away from where it comes.
METHODS: dict[str, tuple[dict[str, Any], str, float]] = {
    "AdamW": ({"method": "adamw", "schedule": "linear"}, "lr", 5e-5),
    "RLHF": ({"method": "rlhf"}, "damping", 1.0),
    "RLHF, L2-SP": ({"method": "rlhf", "lambda_reg": 1.0}, "damping", 1.0),
    "probe": ({}, "probe_lambda", 0.1),
}
WITHOUT = "probe, leave-one-out"  # which has no setting
LAMBDAS = tuple(10 ** (k / 2) for k in range(2, -9, -1))


def runs():
    for data, noise, seed in itertools.product(DATA, NOISES, SEEDS):
        yield {"data": data, "noise": noise, "seed": seed}


class _Unscored(text.ClassificationTask):
    """Not scored on the way: there is nothing to score on where nobody has set labels aside."""

    def evaluate(self) -> dict[str, float]:
        return {}


@lru_cache(maxsize=3)
def _data(name: str) -> tuple[text.TextDataset, text.TextDataset]:
    if not DATA[name]:
        parts = text.load_dataset("course-reviews")
        return parts.train, parts.validation
    train, test = DATA[name]
    whole = text.load_dataset(data_file(train))
    return whole, text.load_dataset(data_file(test), label_names=whole.label_names)


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Test losses by method, one for each of AWAY, None where a run diverged; of WITHOUT one."""
    seed = settings["seed"]
    whole, test = _data(settings["data"])
    training = whole.subset(SENTENCES, seed=seed).with_label_noise(settings["noise"], seed=seed)
    test = test.subset(min(TEST, len(test.texts)), seed=0)
    model = text.load_model("classification", num_labels=len(whole.label_names))
    task = _Unscored(*model, training, test, top_layers=1, max_length=24)
    found: dict[str, list[float | None]] = {}
    for name, (options, setting, default) in METHODS.items():
        found[name] = [_loss(task, {**options, setting: times * default}, seed) for times in AWAY]
    found[WITHOUT] = [_without(_Unscored(*model, training, test, frozen=("body",), max_length=24))]
    return short(found)


def _loss(task: text.ClassificationTask, options: dict[str, Any], seed: int) -> float:
    """The test loss where a run ends; without a method, that of the probe it would start from."""
    task.reset()
    if "method" not in options:
        text.start_head(task, "probe", options["probe_lambda"])
    else:
        records = text.finetune(task, steps=BUDGET, start="probe", seed=seed, **options)
        for _ in affordable(records, BUDGET * SENTENCES):
            pass
    return task.score(task.validation)[0]


def _without(task: text.ClassificationTask) -> float:
    """The test loss of the probe whose λ leave-one-out chooses."""
    text.start_head(task, "zero")
    linear = linearize(task, include_all=True)
    fit = linear.fold_fit(include_all=True)
    chosen = select_lambda(fit, SENTENCES, LAMBDAS, by="loo", rule="min").chosen
    linear.assign(linear.minimum(chosen, include_all=True))
    return task.score(task.validation)[0]


STUDY = Study(
    about=f"The top layer of BERT on {SENTENCES} texts, {BUDGET} gradients, nothing set aside: "
    "each method as it comes, and with its one setting up to ten times off.",
    runs=runs,
    run=run,
    small={"data": "reviews", "noise": 0.2, "seed": 0},
    files=tuple(name for pair in DATA.values() for name in pair),
)
