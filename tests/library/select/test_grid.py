"""The largest lambda of a grid: everything is zero there, and no longer a little below."""

import numpy as np
import pytest
import torch
from cases import randn
from sklearn.linear_model import ElasticNet, Lasso

from rlhf_lib.regularizers import ElasticNet as ElasticNetPenalty
from rlhf_lib.regularizers import GroupLasso
from rlhf_lib.select import lambda_grid

X = randn(40, 6, seed=1) * torch.tensor([1.0, 3, 1e-3, 1, 50, 1], dtype=torch.float64)
Y = X[:, 0] - 2 * X[:, 3] + randn(40, seed=2) + 7


def least_squares(w, b):
    return lambda: (X @ w[:, 0] + b - Y).square().mean() / 2


@pytest.fixture
def problem():
    """(loss, named parameters): the intercept is at its best, the weights anywhere."""
    w = randn(6, 1, seed=3).requires_grad_()
    b = Y.mean().clone().reshape(1).requires_grad_()
    return least_squares(w, b), [("w", w), ("b", b)]


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_all_are_zero_at_the_largest_and_not_at_99_percent_of_it(problem, share):
    loss, params = problem
    before = [p.detach().clone() for _, p in params]
    kind = "l1" if share == 1 else ElasticNetPenalty(l1_ratio=share)
    largest, *_, least = lambda_grid(loss, params, regularizer=kind, number=5, ratio=1e-2)
    by_hand = float((X.T @ (Y - Y.mean())).abs().max()) / len(X) / share
    assert largest == pytest.approx(by_hand, rel=1e-10) and least == pytest.approx(largest / 100)
    for value, zeros in ((largest * (1 + 1e-9), True), (0.99 * largest, False)):
        model = Lasso(value) if share == 1 else ElasticNet(value, l1_ratio=share)
        model.set_params(fit_intercept=False, tol=1e-12, max_iter=100_000)
        model.fit(X.numpy(), (Y - Y.mean()).numpy())
        assert np.all(model.coef_ == 0) == zeros
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, params, strict=True))


def test_groups_by_their_norms_and_l2_by_the_largest_eigenvalue(problem):
    loss, params = problem
    gradient = X.T @ (Y - Y.mean()) / len(X)
    groups = GroupLasso(groups=torch.tensor([0, 0, 1, 1, 1, 2, -1]))
    parts = (gradient[:2], gradient[2:5], gradient[5:])
    expected = max(float(part.norm()) / len(part) ** 0.5 for part in parts)
    assert lambda_grid(loss, params, regularizer=groups, number=1) == [pytest.approx(expected)]
    ones = torch.cat([X, torch.ones(40, 1, dtype=X.dtype)], 1)
    largest = float(torch.linalg.eigvalsh(ones.T @ ones / len(X)).max())
    found = lambda_grid(loss, params, regularizer="l2")
    assert found[0] == pytest.approx(largest, rel=1e-6) and len(found) == 20


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ratio": 1.0}, "between 0 and 1"),
        ({"ratio": float("nan")}, "finite number"),
        ({"number": 0}, "at least 1"),
        ({"number": 2.5}, "whole number"),
        ({"regularizer": None}, "a penalty"),
        ({"regularizer": "lasso"}, "expected a Regularizer"),
    ],
)
def test_what_makes_no_grid_is_refused(problem, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        lambda_grid(*problem, **change)
