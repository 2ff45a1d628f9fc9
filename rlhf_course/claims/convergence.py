"""The claims on speed: fewer steps is not less work, so all is at equal cost."""

from __future__ import annotations

import math

from ..recorded import NotRecorded, results
from ..studies import nb17_digits
from ..verdicts.comparison import Comparison
from .claim import Claim, Source

TRAINING = "benchmarks/training.json"
DIGITS = "nb17_digits.json"
OURS = "RLHF, CG"
TUNED = (
    "each method has one number tuned on a grid, on two seeds that are not used again: by its "
    "least validation loss (on the reviews some of the chosen lie at the grid's edge), and for the "
    "digits with an L2 penalty by the objective"
)
DATA = (
    "handwritten digits (network of 2,410 weights) and reviews (top layer of a BERT, 1.9 million)"
)


def runs_of(document: dict, task: str, method: str) -> list[dict]:
    """The recorded curves of a method, one for each seed. Raises NotRecorded."""
    for t in document["tasks"]:
        for m in t["methods"]:
            if (t["name"], m["method"]) == (task, method) and m.get("runs"):
                return m["runs"]
    raise NotRecorded(f"no runs of {method} on {task}")


def budget_of(document: dict, task: str) -> float:
    """Gradients of the training set that every method of the task may spend."""
    return next(t["budget"] for t in document["tasks"] if t["name"] == task)


def paid(run: dict, budget: float, field: str = "cost") -> int:
    """Index of the last point of a curve that the budget pays for."""
    return max(i for i, spent in enumerate(run[field]) if spent <= budget * (1 + 1e-9))


def at_the_budget(document: dict, task: str, method: str, field: str) -> list[float]:
    """What each run of a method has of this field when the task's budget is spent."""
    budget = budget_of(document, task)
    return [run[field][paid(run, budget)] for run in runs_of(document, task, method)]


def at_equal_cost(document: dict, theirs: str) -> list[Comparison]:
    """Training loss at the end of one budget of gradients, and of one budget of CPU seconds."""
    found = []
    for task in ("digits", "reviews"):
        budget = budget_of(document, task)
        pairs = list(
            zip(runs_of(document, task, OURS), runs_of(document, task, theirs), strict=True)
        )
        gradients, seconds = [], []
        for ours, other in pairs:
            ends = paid(ours, budget), paid(other, budget)
            gradients.append(_decades(ours, other, *ends))
            least = min(ours["cpu"][ends[0]], other["cpu"][ends[1]])
            seconds.append(
                _decades(ours, other, paid(ours, least, "cpu"), paid(other, least, "cpu"))
            )
        for equal, values in (("gradients", gradients), ("CPU seconds", seconds)):
            found.append(
                Comparison(
                    f"{task}, {OURS} against {theirs}, training loss at equal {equal}",
                    tuple(values),
                    "decades",
                )
            )
    return found


def _decades(ours: dict, theirs: dict, i: int, j: int) -> float:
    return math.log10(theirs["train_loss"][j] / ours["train_loss"][i])


def on_one_objective(document: dict, theirs: str, value: float | None = None) -> list[Comparison]:
    """The digits of notebook 09: one objective, lambda and all, at one budget of gradients."""
    ends = {
        method: at_the_end(document, method, chosen)
        for method, chosen in (("RLHF", None), (theirs, value))
    }
    return [
        Comparison(
            f"digits with an L2 penalty, RLHF against {theirs}, objective at equal gradients",
            tuple(math.log10(b / a) for a, b in zip(*ends.values(), strict=True)),
            "decades",
        )
    ]


def at_the_end(document: dict, method: str, value: float | None = None) -> list[float]:
    """The objective that each fresh seed ended with, at the tuned value or another one."""
    value = nb17_digits.STUDY.chosen(document)[method] if value is None else value
    wanted = [{"method": method, "value": value, "seed": seed} for seed in nb17_digits.SEEDS]
    return [r["objective"][-1] for r in results(document, wanted)]


def _faster(short: str, theirs: str, by: list[str], baseline: str, note: str) -> Claim:
    return Claim(
        name=f"faster than {short}",
        words=f"Using the Hessian, training converges faster than with {short}.",
        test="At one budget of gradients, and at one of CPU seconds, the training loss is lower.",
        data=DATA,
        baselines=f"{baseline}; {TUNED}",
        shown_in=("09_rlhf_optimizer", "17_reading_the_article"),
        sources=(
            Source(TRAINING, lambda document: at_equal_cost(document, theirs)),
            Source(
                DIGITS,
                lambda document: [c for method in by for c in on_one_objective(document, method)],
            ),
        ),
        note=note,
    )


FASTER_THAN_GRADIENT_DESCENT = _faster(
    "gradient descent",
    "SGD, momentum 0.9",
    ["gradient descent", "SGD"],
    "gradient descent on all samples and mini-batch SGD with momentum 0.9",
    "Steps are not compared: one of Newton's costs many gradients.",
)
FASTER_THAN_ADAM = _faster(
    "Adam",
    "AdamW",
    ["Adam"],
    "mini-batch Adam, and AdamW with weight decay 0.01",
    "On CPU seconds large batches gain: small ones keep a processor less busy. What is equal "
    "decides what comes out.",
)
