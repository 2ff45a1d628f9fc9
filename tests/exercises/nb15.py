"""Answers to the exercises of notebook 15."""

import torch
from answers import Shown, record

from rlhf_course.checks.nb15 import krylov

TIMES = {1: 100.0, 2: 60.0, 3: 50.0, 4: 45.0, 5: 42.0}  # efficiencies 1, 0.83, 0.67, 0.56, 0.48


def chosen(workers):
    values = {
        "shape": "BERT-base",
        "batch": 32,
        "tokens": 128,
        "products": 10,
        "workers": workers,
        "network": "1 Gbit/s",
    }
    return Shown([record(extra={"by_workers": TIMES})], values)


def weighted(products, counts):
    return sum(c * p for c, p in zip(counts, products, strict=True)) / sum(counts)


def top(A, v, m, **options):
    return torch.linalg.eigvalsh(krylov(A, v, m, **options))[-1]


def power(A, v, m):
    x = v / v.norm()
    for _ in range(m - 1):
        x = A @ x
        x = x / x.norm()
    return x @ (A @ x)


SOLUTIONS = {"15.workers": chosen(4)}

MISTAKES = {
    "15.workers": [
        (chosen(2), "one more would"),
        (chosen(5), "fewer of them"),
        (3, "the panel itself"),
    ],
    "15.shards": [
        (lambda p, c: sum(p) / len(p), "same say"),
        (lambda p, c: sum(p), "sum of the ranks' means"),
        (lambda p, c: weighted(p, c) * sum(c), "divide it by all samples"),
        (lambda p, c: weighted(p, c) * sum(c) / len(c), "not of ranks"),
    ],
    "15.lanczos": [
        (power, "power iteration"),
        (lambda A, v, m: torch.linalg.eigvalsh(krylov(A, v, m))[0], "smallest Ritz value"),
        (lambda A, v, m: top(A, v, m, subtract=False), "subtract β times it"),
        (lambda A, v, m: top(A, v, m, normalize=False), "length 1"),
        (lambda A, v, m: torch.linalg.eigvals(krylov(A, v, m).triu()).real.max(), "both"),
        (lambda A, v, m: torch.linalg.eigvalsh(krylov(A, v, m)), "only the largest"),
        (lambda A, v, m: (A @ v, top(A, v, m))[1], "You took 10 products"),
    ],
}
