"""Notebook 12's comparison: cures of overfitting at equal gradients, by RLHF and AdamW, one probe.

What is judged is the test loss where a run ends, and all that a method has is tuned for that. A run
is stopped by its budget alone, except for early stopping, which ends at its best step.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from rlhf_lib import text
from rlhf_lib.objective import assign, flatten
from rlhf_lib.text.measures import brier_score, calibration_error, measure_weights, outputs_of

from ..recorded import results
from ..studies import Question, Study, short
from ..studies.tuning import Axis, Search, Tuned
from ..verdicts.comparison import Comparison

SENTENCES, BUDGET = 128, 10  # the latter in gradients of the training set, after the probe
PROBE_LAMBDA = 0.2  # of the logistic regression that every run starts from
TUNING_SEEDS, LOOKS = (100, 101), (5, 10)
SEEDS = tuple(range(LOOKS[-1]))
RLHF = {"max_iter": 8, "solver": "auto", "curvature_size": 32}
L2SP = {"regularizer": "l2sp", "lambda_head": PROBE_LAMBDA, "head_center": "zero"}
DAMPING = Axis(3.0, 3.0, low=0.01, high=1000.0)
UNHELD = Axis(10.0, 10.0, low=0.01, high=1000.0)  # where no penalty holds, damping has to
RATE = Axis(3e-5, 3.0, low=1e-6)
STRENGTH = Axis(1.0, 3.0, low=0.1, high=100.0)  # at 0.1 the end is that without a penalty
# At which AdamW overfits within the budget, so that dropout and decay have something to cure.
BARE_RATE = 1e-4
# What finetune gets: fixed, and tuned. Beyond the bounds the penalty is all, or nothing.
METHODS: dict[str, tuple[dict[str, Any], dict[str, Axis]]] = {
    "rlhf l2sp": (L2SP, {"lambda_reg": STRENGTH, "damping": DAMPING}),
    "rlhf none": ({}, {"damping": UNHELD}),
    "rlhf l1": ({"regularizer": "l1"}, {"lambda_reg": Axis(1e-5, 5.0, 1e-9), "damping": UNHELD}),
    "adamw l2sp": (
        L2SP | {"coupled": True, "schedule": "linear"},
        {"lambda_reg": STRENGTH, "lr": RATE},
    ),
    "rlhf l1sp": (
        {"regularizer": "l1sp"},
        {"lambda_reg": Axis(1e-3, 5.0, 1e-9), "damping": UNHELD},
    ),
    "adamw none": ({}, {"lr": RATE}),
    "adamw bare": ({"lr": BARE_RATE}, {}),
    "adamw dropout": ({"lr": BARE_RATE}, {"dropout": Axis(0.2, 2.0, 0.01, 0.8)}),
    "adamw decay": ({"lr": BARE_RATE}, {"lambda_reg": Axis(1.0, 10.0, 1e-3, 1e3)}),
    "adamw linear": ({"schedule": "linear"}, {"lr": RATE}),
    "probe none": ({}, {"lambda_reg": Axis(0.1, 2.0)}),
}
# Early stopping takes the runs without a penalty, at their step of least selection loss.
STOPPED = {"adamw stopped": "adamw none", "adamw bare-stopped": "adamw bare"}
Split = tuple[text.TextDataset, text.TextDataset, text.TextDataset]


class _Few(text.ClassificationTask):
    """Scored on the selection set alone, and only where a run is asked about its steps."""

    scored = True

    def evaluate(self) -> dict[str, float]:
        if not self.scored:
            return {}
        loss, accuracy = self.score(self.validation)
        return {"val_loss": loss, "val_accuracy": accuracy}


@dataclass(frozen=True)
class Cures:
    """The comparison on one data set.

    Attributes:
        noise: share of wrong training labels. length: tokens, longer sentences are cut.
        draw: seed -> training sentences with their right labels, those that select, test sentences;
            no sentence is in two of them, and the last are the same for all seeds.
        methods: names of METHODS and STOPPED.
        layers: of the model that are trained, from the top; None trains all of it.
    """

    name: str
    noise: float
    length: int
    draw: Callable[[int], Split]
    methods: tuple[str, ...]
    layers: int | None = 1

    @property
    def trained(self) -> str:
        return "all" if self.layers is None else "the top layer"

    def search(self) -> Search:
        """Each method's own values, by the selection loss at its end; or at its best step."""
        tuned = {}
        for name in self.methods:
            moment = "best" if name in STOPPED else "end"
            method = STOPPED.get(name, name)
            axes = METHODS[method][1]
            tuned[name] = Tuned({"method": method}, axes, lambda r, m=moment: r[m]["val_loss"])
        return Search(tuned, TUNING_SEEDS, tries=3)

    def judge(self, chosen: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """All methods by seed, each set of values once."""
        different = {str(s): s for s in chosen.values()}
        for seed in SEEDS:
            for settings in different.values():
                yield settings | {"seed": seed}

    def rows(self, settings: Mapping[str, Any]) -> dict[str, list[str]]:
        """The sentences of a run by role; tuning does not look at the test sentences."""
        roles = ("train", "selection", "test")
        found = zip(roles, self.draw(settings["seed"]), strict=True)
        return {
            role: list(data.texts)
            for role, data in found
            if role != "test" or settings["seed"] not in TUNING_SEEDS
        }

    def run(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Selection loss by step; losses, calibration and weights at the end and at the best step.

        Runs of the tuning seeds have the selection loss alone.
        """
        options = dict(settings)
        method, seed = options.pop("method"), options.pop("seed")
        stops = method in STOPPED.values()
        task = _task(self, seed)
        params = [p for _, p in task.trained()]
        steps, best, theta = [], None, None
        for r in self._records(task, method, seed, METHODS[method][0] | options, stops):
            if r.val_loss is None:
                continue
            steps.append({"step": r.step, "val_loss": r.val_loss, "cost": r.cost / SENTENCES})
            if best is None or r.val_loss < best["val_loss"]:
                best, theta = steps[-1], flatten(p.detach() for p in params).clone()
        end = steps[-1]
        if seed not in TUNING_SEEDS:
            end = self._measure(task) | end
            if stops:
                assign(params, theta)
                best = self._measure(task) | best
        task.reset()
        columns = {key: [s[key] for s in steps] for key in ("val_loss", "cost")}
        return short({"steps": columns, "end": end} | ({"best": best} if stops else {}))

    def _records(self, task: _Few, method: str, seed: int, options: dict, stops: bool):
        """Records of a run that spends the budget, and no more.

        The next step of RLHF is taken to cost as much as the dearest so far.
        """
        optimizer = method.split()[0]
        if optimizer == "probe":
            yield text.start_head(task, "probe", options["lambda_reg"]).with_(**task.evaluate())
            return
        options |= {"start": "probe", "probe_lambda": PROBE_LAMBDA, "seed": seed, "steps": BUDGET}
        options |= RLHF if optimizer == "rlhf" else {}
        task.scored, costs = stops, []
        for record in text.finetune(task, optimizer, **options):
            yield record
            costs.append(record.cost)
            dearest = max((b - a for a, b in pairwise(costs)), default=0)
            if costs[-1] - costs[0] + dearest > BUDGET * SENTENCES:
                break
        task.scored = True
        if not stops:
            yield record.with_(**task.evaluate())

    def _measure(self, task: _Few) -> dict[str, Any]:
        unseen = _unseen(self)
        logits, labels = outputs_of(task, unseen), unseen["labels"]
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        train_loss, train_accuracy = task.score(task.training)
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "test_loss": float(losses.double().mean()),
            "test_accuracy": float((logits.argmax(1) == labels).double().mean()),
            "ece": calibration_error(logits, labels),
            "brier": brier_score(logits, labels),
            **measure_weights(task),
            "losses": base64.b64encode(losses.half().numpy().tobytes()).decode(),
        }

    def judged(self, document: Mapping[str, Any], name: str, seeds) -> list[dict[str, Any]]:
        """Measures of a method by seed where its run ended; early stopping's where it was best."""
        settings = self.search().chosen(document)[name]
        moment = "best" if name in STOPPED else "end"
        return [r[moment] for r in results(document, [settings | {"seed": s} for s in seeds])]

    def gain(self, document: Mapping[str, Any], name: str, other: str, seeds) -> Comparison:
        """How much lower the test loss is than the other method's, by seed and by sentence.

        All seeds are judged on the same sentences, so that these are a draw, too.
        """
        mine, theirs = (self.judged(document, m, seeds) for m in (name, other))
        pairs = list(zip(mine, theirs, strict=True))
        items = torch.stack([losses_of(b) - losses_of(a) for a, b in pairs]).mean(0)
        return Comparison(
            f"{self.name}: {name} against {other}, test loss",
            tuple(b["test_loss"] - a["test_loss"] for a, b in pairs),
            "nats",
            by_item=tuple(items.tolist()),
        )

    def study(self, *asked: tuple[str, str], files: tuple[str, ...] = ()) -> Study:
        """asked: pairs of methods, whose comparisons are to be decided."""

        def question(pair: tuple[str, str]) -> Question:
            return Question(" against ".join(pair), lambda d, seeds: [self.gain(d, *pair, seeds)])

        return Study(
            about=f"Cures of overfitting on {self.name}: RLHF and AdamW at {BUDGET} gradients on "
            f"{SENTENCES} sentences from one probe, {self.trained} of MiniLM, mean of the tokens.",
            run=self.run,
            search=self.search(),
            judge=self.judge,
            looks=LOOKS,
            questions=tuple(map(question, asked)),
            rows=self.rows,
            shared=("train", "selection"),
            files=files,
            small=None
            if files
            else {"method": "adamw none", "lr": RATE.start, "seed": TUNING_SEEDS[0]},
        )


@lru_cache(maxsize=2)  # tuning goes to and fro between two seeds
def _task(cures: Cures, seed: int) -> _Few:
    training, selection, _ = cures.draw(seed)
    training = training.with_label_noise(cures.noise, seed=seed)
    return _Few(*text.load_model("classification"), training, selection, **_options(cures))


@lru_cache(maxsize=1)
def _unseen(cures: Cures) -> dict[str, torch.Tensor]:
    """The test sentences' activations below the top layer, which no run changes."""
    training, _, test = cures.draw(SEEDS[0])
    few = training.subset(2)
    model, tokenizer = text.load_model("classification")
    return _Few(model, tokenizer, few, test, **_options(cures)).validation


def _options(cures: Cures) -> dict[str, Any]:
    return {"top_layers": cures.layers, "max_length": cures.length}


def losses_of(measures: Mapping[str, Any]) -> torch.Tensor:
    """Test losses by sentence, as recorded, to three digits."""
    raw = bytearray(base64.b64decode(measures["losses"]))
    return torch.frombuffer(raw, dtype=torch.float16).double()


def apart(data: text.TextDataset, n: int, seed: int) -> tuple[text.TextDataset, text.TextDataset]:
    """n rows drawn by a seed, and the others; no text is in both."""
    first = data.subset(n, seed=seed)
    mine = set(first.texts)
    return first, data.take([i for i, t in enumerate(data.texts) if t not in mine])
