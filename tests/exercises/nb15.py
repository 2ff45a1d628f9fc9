"""Answers to the exercises of notebook 15."""

import math

import numpy as np
import torch
from answers import Shown, record, stopped

from rlhf_course.checks.nb15 import krylov

TIMES = {1: 100.0, 2: 60.0, 3: 50.0, 4: 45.0, 5: 42.0}  # efficiencies 1, 0.83, 0.67, 0.56, 0.48


def chosen(workers):
    values = {
        "shape": "BERT-base",
        "batch": 32,
        "tokens": 128,
        "products": 10,
        "what": "G",
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


def three_terms(A, v, m):
    """Without reorthogonalization: nine steps do not need it yet."""
    q, before, beta, alphas, betas = v / v.norm(), 0 * v, 0.0, [], []
    for _ in range(m):
        w = A @ q - beta * before
        alphas.append(q @ w)
        w = w - alphas[-1] * q
        beta, before = w.norm(), q
        betas.append(beta)
        q = w / beta
    T = torch.zeros(m, m, dtype=v.dtype)
    for k in range(m):
        T[k, k] = alphas[k]
        if k:
            T[k, k - 1] = T[k - 1, k] = betas[k - 1]
    return float(torch.linalg.eigvalsh(T).max())


def by_arnoldi(A, v, m):
    """The projection of A on an orthonormal basis of the Krylov space."""
    basis, images = [v / v.norm()], []
    for _ in range(m):
        images.append(A @ basis[-1])
        w = images[-1]
        for _ in range(2):
            for q in basis:
                w = w - (q @ w) * q
        basis.append(w / w.norm())
    Q = torch.stack(basis[:-1])
    return torch.linalg.eigvalsh((Q @ torch.stack(images, 1) + (Q @ torch.stack(images, 1)).T) / 2)[
        -1
    ]


def most(own, send, e):
    return math.floor(1 + own * (1 / e - 1) / (2 * send))


def by_search(own, send, e):
    workers = 1
    while own / (own + 2 * workers * send) >= e:
        workers += 1
    return workers


def by_times(own, send, e):
    K = torch.arange(1, 200, dtype=torch.float64)
    times = own / K + 2 * (K - 1) / K * send
    return int(K[own / (K * times) >= e].max())


RIGHT = {
    "15.most": [by_search, by_times, lambda o, s, e: np.int64(1 + o * (1 - e) / (2 * s * e))],
    "15.workers": [chosen(4), chosen(np.int64(4)), chosen(4.0)],
    "15.shards": [
        lambda p, c: torch.tensor(c, dtype=p[0].dtype) @ torch.stack(p) / sum(c),
        lambda p, c: sum(k * x.numpy() for k, x in zip(c, p, strict=True)) / sum(c),
        lambda p, c: torch.stack([x * (k / sum(c)) for k, x in zip(c, p, strict=True)]).sum(0),
    ],
    "15.lanczos": [three_terms, by_arnoldi, lambda A, v, m: top(A, v, m).numpy()],
}

SOLUTIONS = {"15.workers": chosen(4)}

MISTAKES = {
    "15.most": [
        (lambda o, s, e: most(o, s, e) - 1, "One worker sends nothing"),
        (lambda o, s, e: most(o, s, e) + 1, "Rounded up"),
        (lambda o, s, e: most(o, s / 2, e), "nearly twice"),
        (lambda o, s, e: most(o, s, 0.5), "one half"),
        (lambda o, s, e: 1 + o * (1 / e - 1) / (2 * s), "whole number"),
        (lambda o, s, e: math.floor(o / s) or 1, "come in"),
        (lambda o, s, e: math.floor(1 + o / (2 * s * e)), "share of the work"),
        (lambda o, s, e: round(1 + o * (1 / e - 1) / (2 * s)), "Rounded up"),
        (lambda o, s, e: min(most(o, s, e), 16), "number of workers"),
    ],
    "15.workers": [
        (chosen(2), "one more would"),
        (chosen(5), "fewer of them"),
        (3, "the panel itself"),
        (chosen(1), "one more would"),
        (chosen(3), "one more would"),
        (stopped(chosen(4)), "a whole one"),
        (4, "the panel itself"),
    ],
    "15.shards": [
        (lambda p, c: sum(p) / len(p), "same say"),
        (lambda p, c: sum(p), "sum of the ranks' means"),
        (lambda p, c: weighted(p, c) * sum(c), "divide it by all samples"),
        (lambda p, c: weighted(p, c) * sum(c) / len(c), "not of ranks"),
        (lambda p, c: sum(p[1:]) / len(p), "product"),
        (lambda p, c: p[c.index(max(c))], "product"),
        (lambda p, c: weighted(p, c).norm(), "Expected a tensor"),
    ],
    "15.lanczos": [
        (power, "power iteration"),
        (lambda A, v, m: torch.linalg.eigvalsh(krylov(A, v, m))[0], "smallest Ritz value"),
        (lambda A, v, m: top(A, v, m, subtract=False), "subtract ω times it"),
        (lambda A, v, m: top(A, v, m, normalize=False), "length 1"),
        (lambda A, v, m: torch.linalg.eigvals(krylov(A, v, m).triu()).real.max(), "both"),
        (lambda A, v, m: torch.linalg.eigvalsh(krylov(A, v, m)), "only the largest"),
        (lambda A, v, m: (A @ v, top(A, v, m))[1], " Lanczos steps take "),
    ],
}
