"""The claims on breadth: every pre-trained model, four applications."""

from __future__ import annotations

from ..recorded import NotRecorded, results
from ..studies import nb13_tasks, nb17_models
from ..verdicts.comparison import Comparison
from .claim import Claim, Source

MODELS = "nb17_models.json"
EXACT = 1e-6  # relative to a product's largest entry; differences in float64 are that good
TASKS = "nb13_tasks.json"


def runs_on(family: str):
    """Whether RLHF steps lower the training loss of this family: document -> comparisons."""

    def compare(document: dict) -> list[Comparison]:
        found = results(document, [{"family": family, "seed": seed} for seed in nb17_models.SEEDS])
        if all("error" in result for result in found):
            about = f"{family}: {found[0]['error']}"
            return [Comparison(about, (-1.0,), "refused", exact=True)]
        worst = max(r["product_error"] for r in found)
        if worst > EXACT:
            about = f"{family}, a Hessian product is off by {worst:.1g}, against {EXACT:g}"
            return [Comparison(about, (-1.0,), "wrong", exact=True)]
        falls = tuple(r["train_loss"][0] - r["train_loss"][-1] for r in found)
        return [Comparison(f"{family}, training loss before less after", falls, "nats")]

    return compare


def learns(task: str, against: str | None = None):
    """Validation loss of RLHF at its best lambda, before less after or against another method."""

    def compare(document: dict) -> list[Comparison]:
        ours = _curves(document, task, "rlhf")
        if against is None:
            falls = tuple(curve[0] - curve[-1] for curve in ours)
            return [Comparison(f"{task}, RLHF, validation loss, before less after", falls, "nats")]
        theirs = _curves(document, task, against)
        gains = tuple(b[-1] - a[-1] for a, b in zip(ours, theirs, strict=True))
        about = f"{task}, RLHF against {against}, both with L2-SP, validation loss at the end"
        # Shown beside: its rate was not tuned, and its gradients are a third of ours.
        return [Comparison(about, gains, "nats", primary=False)]

    return compare


def _curves(document: dict, task: str, method: str) -> list[list[float]]:
    """Validation losses at the lambda of least mean at the end, one list a seed."""
    by_value = {}
    for value in nb13_tasks.LAMBDAS:
        wanted = [
            {"task": task, "method": method, "lambda": value, "seed": seed}
            for seed in nb13_tasks.SEEDS
        ]
        by_value[value] = [r["val_loss"] for r in results(document, wanted)]
    if not by_value:
        raise NotRecorded(f"no runs of {method} on {task}")
    return min(by_value.values(), key=lambda curves: sum(curve[-1] for curve in curves))


EVERY_MODEL = Claim(
    name="every pre-trained model",
    words="The method is general: it applies to any pre-trained model.",
    test="On each family of transformers the products are exact and RLHF steps lower the loss.",
    data=f"tiny random models of {len(nb17_models.FAMILIES)} families, {nb17_models.TEXTS} "
    "reviews; and one whose attention is a fused kernel",
    baselines="the model before the steps; nothing is tuned",
    tested_on="tiny random models, no pre-trained one",
    shown_in=("13_tasks_and_models", "17_reading_the_article"),
    sources=tuple(
        Source(MODELS, runs_on(family)) for family in (*nb17_models.FAMILIES, nb17_models.FUSED)
    ),
    note="A model whose operations have no second derivative is refused; the same weights with "
    "attn_implementation='eager' are not.",
)
FOUR_APPLICATIONS = Claim(
    name="classification, entities, questions",
    words="It serves text classification, sentiment, named entities and question answering.",
    test="On each task the validation loss falls; AdamW beside it was not tuned.",
    data="the course's reviews, entities and questions, the top layer of a 6-layer BERT",
    baselines="AdamW with the same penalty; for both the best of six λ on the validation set that "
    "is reported, which flatters both",
    tested_on="the top layer of a 6-layer BERT",
    shown_in=("13_tasks_and_models",),
    sources=tuple(
        Source(TASKS, learns(task, against))
        for task in nb13_tasks.TASKS
        for against in (None, "adamw")
    ),
)
