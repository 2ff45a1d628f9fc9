"""The claims on breadth: every pre-trained model, four applications."""

from __future__ import annotations

from dataclasses import replace

from ..recorded import results
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


def learns(task: str):
    """RLHF against a probe, or its own start, as the study decides it; against AdamW beside."""

    def compare(document: dict) -> list[Comparison]:
        study = nb13_tasks.STUDY
        decides = study.compared(document, task)
        seeds = nb13_tasks.SEEDS[: study.looked(document)[-1].seeds]
        beside = nb13_tasks.gain(document, task, "adamw", seeds)
        return [*decides, replace(beside, looks=study.looks)]

    return compare


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
    test="On each task RLHF learns more than a probe of the frozen model knows, or, where the head "
    "is not linear, more than it knew at its start: its loss on unseen samples is lower.",
    data="the course's reviews (48 to learn from), entities (40) and questions (16), with 200, 70 "
    "and 64 unseen ones; the top layer of a 6-layer BERT",
    baselines="the probe, its λ searched; AdamW with a falling rate and the same penalty is shown "
    "beside; λ, damping and rate of each are searched alike, on samples that judge nothing",
    tested_on="the top layer of a 6-layer BERT",
    shown_in=("13_tasks_and_models",),
    sources=tuple(Source(TASKS, learns(task)) for task in nb13_tasks.TASKS),
)
