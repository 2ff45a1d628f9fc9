"""L1 logistic regression: seconds to a suboptimality of 1e-6, beside skglm and scikit-learn."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from rlhf_lib import RLHFOptimizer
from rlhf_lib.regularizers import L1
from rlhf_lib.solve import sparse_minimum

from .machine import about
from .measure import CPU_1, failure, timed

CLOSE = 1e-6
# name -> (correlation of neighbouring columns, lambda as a part of the least that gives zero)
PROBLEMS = {
    "independent columns, many non-zeros": (0.0, 0.008),
    "independent columns, few non-zeros": (0.0, 0.2),
    "correlation 0.9, many non-zeros": (0.9, 0.005),
    "correlation 0.9, few non-zeros": (0.9, 0.1),
}
SIGNAL = 50  # columns that the labels were drawn by
OURS = "sparse_minimum"


def problem(correlation: float, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """X (n, p), each column correlated with the one before, and labels (n,) of 0 and 1."""
    random = np.random.default_rng(0)
    X = np.asfortranarray(random.standard_normal((n, p)))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + math.sqrt(1 - correlation**2) * X[:, j]
    truth = np.zeros(p)
    truth[random.choice(p, SIGNAL, replace=False)] = random.standard_normal(SIGNAL)
    return X, (random.random(n) < 1 / (1 + np.exp(-X @ truth))).astype(float)


class Contest:
    """One data set and lambda, and who solves it: (tolerances, tolerance -> theta)."""

    def __init__(self, correlation: float, fraction: float, n: int, p: int):
        self.X, self.y = problem(correlation, n, p)
        self.lam = fraction * float(np.abs(self.X.T @ (0.5 - self.y)).max()) / n
        self.rows = np.ascontiguousarray(self.X)  # as liblinear and saga want it
        self.columns, self.labels = torch.from_numpy(self.X), torch.from_numpy(self.y)

    def objective(self, theta: np.ndarray) -> float:
        """Mean loss + lambda |theta|_1."""
        z = self.X @ theta
        return float(np.mean(np.logaddexp(0, z) - self.y * z) + self.lam * np.abs(theta).sum())

    def losses(self, z: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(z, self.labels, reduction="none")

    def by_sets(self, tolerance: float) -> np.ndarray:
        found = sparse_minimum(self.losses, self.columns, L1(), self.lam, rtol=tolerance)
        return found.theta.numpy()

    def by_optimizer(self, tolerance: float) -> np.ndarray:
        theta = torch.nn.Parameter(self.columns.new_zeros(self.columns.shape[1]))
        optimizer = RLHFOptimizer(
            [theta], lambda_reg=self.lam, damping=1e-6, kinks="proximal", max_iter=100, rtol=1e-2
        )

        def closure():
            z = self.columns @ theta
            return self.losses(z).mean(), z

        for _ in range(100):
            optimizer.step(closure)
            if optimizer.record.grad_norm <= tolerance or not optimizer.record.accepted:
                break
        return theta.detach().numpy()

    def by_skglm(self, tolerance: float) -> np.ndarray:
        from skglm.estimators import SparseLogisticRegression

        model = SparseLogisticRegression(alpha=self.lam, tol=tolerance, fit_intercept=False)
        return model.fit(self.X, self.y).coef_.ravel()

    def by_sklearn(self, solver: str) -> Callable[[float], np.ndarray]:
        from sklearn.linear_model import LogisticRegression

        def solve(tolerance: float) -> np.ndarray:
            model = LogisticRegression(
                C=1 / (self.lam * len(self.y)),
                l1_ratio=1.0,
                solver=solver,
                tol=tolerance,
                max_iter=2000,
                fit_intercept=False,
                random_state=0,
            )
            return model.fit(self.rows, self.y).coef_.ravel()

        return solve

    def contenders(self) -> Iterator[tuple[str, tuple[float, ...], Callable]]:
        falling = tuple(10.0**-k for k in range(2, 8))
        yield OURS, falling, self.by_sets
        yield "RLHFOptimizer", falling, self.by_optimizer
        yield "skglm", falling, self.by_skglm
        yield "liblinear", falling, self.by_sklearn("liblinear")
        yield "saga", falling[:3], self.by_sklearn("saga")


def run(*, fast: bool = False, rounds: int | None = None) -> dict:
    """Seconds of each contender on each problem, all in turn, round after round."""
    n, p = (400, 60) if fast else (10_000, 1_000)
    found = {}
    for title, (correlation, fraction) in PROBLEMS.items():
        contest = Contest(correlation, fraction, n, p)
        least = contest.objective(contest.by_sets(1e-9))
        tolerances, seconds, errors = {}, {}, {}
        with warnings.catch_warnings(), CPU_1.active():
            warnings.simplefilter("ignore")  # of convergence: the objective says it
            for name, values, solve in contest.contenders():
                try:
                    solve(values[0])  # compiles, warms up
                    close = (v for v in values if contest.objective(solve(v)) <= least + CLOSE)
                    tolerances[name] = next(close)
                except StopIteration:
                    errors[name] = "not within 1e-6 at any tolerance"
                except Exception as error:  # a peer that is not installed, or fails
                    errors[name] = failure(error)
            for _ in range(rounds or 3):
                for name, _, solve in contest.contenders():
                    if name in tolerances:
                        took, _ = timed(lambda s=solve, v=tolerances[name]: s(v), CPU_1)
                        seconds.setdefault(name, []).append(took)
        theta = contest.by_sets(1e-9)
        found[title] = {
            "non-zeros": int((theta != 0).sum()),
            "seconds": {name: round(statistics.median(s), 4) for name, s in seconds.items()},
            "ratios": {
                name: [round(a / b, 3) for a, b in zip(s, seconds[OURS], strict=True)]
                for name, s in seconds.items()
            },
            "errors": errors,
        }
        print(f"  {title}: {found[title]['seconds']} {errors or ''}", flush=True)
    return {**about("cpu"), "rows": n, "columns": p, "problems": found}


def table(results: dict) -> str:
    """A line for each problem: non-zeros, and CPU seconds of all."""
    names = list(dict.fromkeys(n for row in results["problems"].values() for n in row["seconds"]))
    lines = ["| | non-zeros | " + " | ".join(names) + " |", "|---|" + "---|" * (len(names) + 1)]
    for title, row in results["problems"].items():
        cells = [f"{row['seconds'][n]:.2g}" if n in row["seconds"] else "–" for n in names]
        lines.append(f"| {title} | {row['non-zeros']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
