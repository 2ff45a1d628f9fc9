"""Checks of notebook 15."""

from __future__ import annotations

import math

import torch

from ..checking.cases import integer, uniform
from ..checking.expect import call, expect, randn
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

SETTING = {"shape": "BERT-base", "batch": 32, "tokens": 128, "products": 10, "what": "G"}
SETTING |= {"network": "1 Gbit/s"}


@goal("15.workers", **SETTING)
def workers(records, values):
    """The most workers of which each still does half of what it could alone, at 1 Gbit/s."""
    by_workers = records[-1].extra["by_workers"]
    efficiency = {w: by_workers[1] / (w * t) for w, t in by_workers.items()}
    best = max(w for w, share in efficiency.items() if share >= 0.5)
    mine = values["workers"]
    require(
        mine <= best,
        f"{mine} workers are {by_workers[1] / by_workers[mine]:.1f} times as fast as one: an "
        f"efficiency of {efficiency[mine]:.0%}. The network waits for nobody: fewer of them.",
    )
    require(
        mine >= best,
        f"{mine} workers have an efficiency of {efficiency[mine]:.0%}, and one more would still "
        "have at least a half.",
    )
    return correct(
        f"{best} workers are {by_workers[1] / by_workers[best]:.1f} times as fast as one. Every "
        "product sends a vector of 438 MB, and the network's share does not shrink."
    )


@exercise("15.most")
def most(answer):
    """A function (own, send, efficiency) -> the largest number of workers with that efficiency."""
    for case in range(8):
        efficiency = uniform(0.3, 0.9, seed=case)
        workers = integer(1, 40, seed=case + 10)
        send = uniform(0.1, 20, seed=case + 20)
        # Such that the last worker is still worth it, and one more is not.
        edge = workers - 1 + uniform(0.05, 0.95, seed=case + 30)
        own = 2 * send * edge / (1 / efficiency - 1)

        def down(count):
            return torch.tensor(max(1, math.floor(count)))

        ratio = own * (1 / efficiency - 1)
        expect(
            call(answer, own, send, efficiency),
            workers,
            {
                "One worker sends nothing: with K − 1 in the place of K it is one more.": down(
                    ratio / (2 * send)
                ),
                "Rounded up: with that many the efficiency is below what was asked for.": workers
                + 1,
                "A sum sends the vector nearly twice, 2 (K − 1)/K of it.": down(1 + ratio / send),
                "That is right for an efficiency of one half.": down(1 + own / (2 * send)),
                "The efficiency is the share of the work in the whole: own / (own + ...).": down(
                    1 + own / (2 * send * efficiency)
                ),
                "That is the work over the journey; how does the efficiency come in?": down(
                    own / send
                ),
                "A whole number of workers, please.": 1 + ratio / (2 * send),
            },
            f"With {own:.3g} s of work, {send:.3g} s to send and an efficiency of {efficiency:.2f}: "
            "own / (own + 2 (K − 1) send).",
            what="number of workers",
        )
    return correct("The ratio of work to communication decides; seconds do not.")


@exercise("15.shards")
def shards(answer):
    """A function (products, counts) -> the product of the loss over all samples."""
    for seed in range(3):
        ranks, n = integer(3, 5, seed), integer(5, 8, 10 + seed)
        products = [randn(n, seed=seed + 10 * k) for k in range(ranks)]
        ragged = [integer(1, 9, 100 * seed + k) for k in range(ranks - 1)]
        for counts in ([*ragged, max(ragged) + 1], [*ragged, 0]):
            mine = [
                p if c else torch.zeros(n, dtype=p.dtype)
                for p, c in zip(products, counts, strict=True)
            ]
            stack, c = torch.stack(mine), torch.tensor(counts, dtype=mine[0].dtype)
            expect(
                call(answer, mine, counts),
                (c[:, None] * stack).sum(0) / c.sum(),
                {
                    "Every rank has the same say, whether it holds eight samples or one: weight by "
                    "the counts.": stack.mean(0),
                    "That is the sum of the ranks' means.": stack.sum(0),
                    "The weighted sum is right; divide it by all samples.": (
                        c[:, None] * stack
                    ).sum(0),
                    "Divide by the number of samples, not of ranks.": (c[:, None] * stack).sum(0)
                    / len(counts),
                },
                "Rank k has the mean over its c_k samples: Σ c_k p_k / Σ c_k.",
                what="product",
            )
    return correct("One sum of vectors and one of counts: an all-reduce of n + 1 numbers.")


class Counted:
    """A matrix that counts its products."""

    def __init__(self, matrix):
        self.matrix, self.shape, self.products = matrix, matrix.shape, 0

    def __matmul__(self, v):
        self.products += 1
        return self.matrix @ v


def krylov(A, v, m, *, subtract=True, normalize=True):
    """The tridiagonal matrix of m Lanczos steps, reorthogonalized; or with a part left out."""
    q, before, beta = v / v.norm(), torch.zeros_like(v), 0.0
    basis, diagonal, beside = [], [], []
    for _ in range(m):
        basis.append(q)
        w = A @ q
        alpha = q @ w
        w = w - alpha * q - (beta * before if subtract else 0.0)
        if subtract:
            for b in basis:
                w = w - (b @ w) * b
        diagonal.append(alpha)
        beta = w.norm()
        beside.append(beta)
        before, q = q, (w / beta if normalize else w)
    T = torch.diag(torch.stack(diagonal))
    off = torch.stack(beside[:-1])
    return T + torch.diag(off, 1) + torch.diag(off, -1)


@exercise("15.lanczos")
def lanczos(answer):
    """A function (A, v, m) -> estimate of the largest eigenvalue from m Lanczos steps."""
    for seed in range(3):
        n, m = integer(26, 34, seed), integer(7, 10, 10 + seed)
        q, _ = torch.linalg.qr(randn(n, n, seed=seed))
        ends = torch.tensor([uniform(1.4, 1.7, seed), 1.9])
        values = torch.cat([torch.linspace(-1, 1, n - 2), ends]).double()
        matrix = q @ torch.diag(values) @ q.T
        matrix = (matrix + matrix.T) / 2
        v = randn(n, seed=seed + 7)
        A = Counted(matrix)
        x = v / v.norm()
        for _ in range(m - 1):
            x = matrix @ x
            x = x / x.norm()
        got = call(answer, A, v.clone(), m)
        ritz = torch.linalg.eigvalsh(krylov(matrix, v, m))
        one_off = krylov(matrix, v, m).triu()
        expect(
            got,
            ritz[-1],
            {
                "That is power iteration: the same products, but only the last vector is used.": x
                @ matrix
                @ x,
                "That is the smallest Ritz value; the largest is asked for.": ritz[0],
                "The new vector keeps a part of the one before: subtract ω times it, too.": torch.linalg.eigvalsh(
                    krylov(matrix, v, m, subtract=False)
                )[-1],
                "The small matrix has δ on the diagonal and ω on *both* sides of it.": torch.linalg.eigvals(
                    one_off
                ).real.max(),
                "Every vector has to be brought to length 1 before the next product.": torch.linalg.eigvalsh(
                    krylov(matrix, v, m, normalize=False)
                )[-1],
                "All Ritz values came; only the largest is asked for.": ritz,
            },
            "The largest eigenvalue of the tridiagonal matrix of m steps.",
            what="eigenvalue",
            rtol=1e-6,
        )
        require(A.products == m, f"You took {A.products} products; {m} Lanczos steps take {m}.")
    return correct("So few products, and the top of the spectrum is known to three digits or so.")
