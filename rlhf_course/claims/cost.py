"""The claims on cost: that curvature is too expensive, and that cheaper methods may be found."""

from __future__ import annotations

import math

from ..recorded import NotRecorded
from ..verdicts.comparison import Comparison
from ..verdicts.rule import SOME
from .claim import LIVE, Claim, Source

PRODUCTS, TRAINING = "benchmarks/products.json", "benchmarks/training.json"
BERT_BASE = 109_482_240  # weights and biases of BERT-base, uncased, without a head
MACHINE_BYTES = 2**40  # of memory, more than almost any single machine has
AFFORDABLE = 10.0  # gradients


def dense_hessian(document) -> list[Comparison]:
    """The matrix that the article inverts, in float32, against the memory of a large machine."""
    needed = 4 * BERT_BASE**2
    return [
        Comparison(
            f"BERT-base's dense Hessian, {needed / 1e15:.0f} PB, against 1 TiB of memory",
            (math.log10(needed / MACHINE_BYTES),),
            "decades",
            exact=True,
        )
    ]


def product_is_dear(document: dict) -> list[Comparison]:
    """A Hessian product of a BERT against ten gradients: the claim needs it to cost more."""
    rounds = both_rounds(document, "bert", "Hv", "rlhf_lib, graph kept", "product")
    return [
        Comparison(
            f"a Hessian product of a 22.7-million-weight BERT against {AFFORDABLE:g} gradients",
            tuple(math.log10(cost / AFFORDABLE) for cost in rounds),
            "decades",
            of="rounds",
        )
    ]


def cheaper_solve(document: dict) -> list[Comparison]:
    """One damped Gauss-Newton system, solved in sample space and by conjugate gradients."""
    found = []
    for problem, title in (("bert-solve", "BERT, 64 sentences"), ("mlp-solve", "MLP, batch 64")):
        fast = both_rounds(document, problem, "solve", "rlhf_lib, sample space", "solve")
        slow = both_rounds(document, problem, "solve", "rlhf_lib, CG", "solve")
        found.append(
            Comparison(
                f"{title}, one solve in sample space against CG, gradients",
                tuple(math.log10(b / a) for a, b in zip(fast, slow, strict=True)),
                "decades",
                of="rounds",
            )
        )
    return found


def cheaper_training(document: dict) -> list[Comparison]:
    """Least validation loss within one budget of gradients, what the benchmark is tuned for."""
    found = []
    for task in document["tasks"]:
        fast, slow = (
            [_least_within(run, task["budget"]) for run in _runs_of(task, method)]
            for method in ("RLHF, sample space", "RLHF, CG")
        )
        found.append(
            Comparison(
                f"{task['name']}, RLHF in sample space against CG, least validation loss at equal "
                "gradients",
                tuple(b - a for a, b in zip(fast, slow, strict=True)),
                "nats",
            )
        )
    return found


def _runs_of(task: dict, method: str) -> list[dict]:
    for m in task["methods"]:
        if m["method"] == method and m.get("runs"):
            return m["runs"]
    raise NotRecorded(f"no runs of {method} on {task['name']}")


def _least_within(run: dict, budget: float) -> float:
    pairs = zip(run["cost"], run["val_loss"], strict=True)
    return min(loss for cost, loss in pairs if cost <= budget * (1 + 1e-9))


def both_rounds(
    document: dict, problem: str, quantity: str, contender: str, what: str
) -> tuple[float, float]:
    """(least, most) cost in gradients, in CPU seconds of one thread, of a measurement in rounds."""
    for p in document["problems"]:
        for r in p["results"]:
            if (p["name"], r["quantity"], r["contender"]) == (problem, quantity, contender):
                timing = r["timings"]["cpu-1"][what]
                return timing["least"], timing["most"]
    raise NotRecorded(f"no {quantity} of {contender} on {problem}")


COST_IS_THE_OBSTACLE = Claim(
    name="cost is the obstacle",
    words="What stands in the way of second order is its computational cost.",
    test="The dense Hessian does not fit a machine, and a product with it is dear, too.",
    data="BERT-base by arithmetic; a 6-layer BERT, measured",
    baselines=f"1 TiB of memory; {AFFORDABLE:g} gradients",
    tested_on="arithmetic for BERT-base, and a 6-layer BERT",
    shown_in=("04_hessian_vector_products", "15_cost_and_scale"),
    sources=(Source(LIVE, dense_hessian), Source(PRODUCTS, product_is_dear)),
    note="True of the matrix, false of its products: a step still takes many of them.",
)
CHEAPER_SECOND_ORDER = Claim(
    name="cheaper second-order methods",
    words="As future work: cheaper second-order methods should be found.",
    test="A solve that uses how few samples there are takes fewer gradients than CG, as accurate, "
    "and a training with it reaches a lower validation loss with one budget of gradients.",
    data="damped Gauss-Newton systems of a BERT and of a small network, 64 samples of two classes; "
    "training on digits, 250 samples of ten classes for the curvature, and on reviews",
    baselines="conjugate gradients of the same library, to the same relative residual or tuned "
    "alike",
    tested_on="a 6-layer BERT and a small network",
    shown_in=("07_gauss_newton", "15_cost_and_scale"),
    quantifier=SOME,
    sources=(Source(PRODUCTS, cheaper_solve), Source(TRAINING, cheaper_training)),
    note="Its memory and work grow with the square of samples times classes, which solver='auto' "
    "counts first.",
)
