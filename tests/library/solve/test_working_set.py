"""Sparse linear models by working sets: scikit-learn's minima, and the optimality condition."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso
from torch.nn.functional import binary_cross_entropy_with_logits

from rlhf_lib.regularizers import L1, ElasticNet, GroupLasso
from rlhf_lib.solve import sparse_minimum, working_set

N, P = 120, 80


def columns(correlation=0.6):
    random = np.random.default_rng(0)
    X = random.standard_normal((N, P))
    for j in range(1, P):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    return X, X[:, :5] @ np.array([3.0, -2.0, 0.0, 1.0, -1.0]) + random.standard_normal(N)


X, Y = columns()
INPUTS, TARGETS = torch.from_numpy(X), torch.from_numpy(Y)


def squares(z):
    return (z - TARGETS) ** 2 / 2


@pytest.mark.parametrize(
    ("penalty", "peer"),
    [
        (L1(), Lasso),
        (ElasticNet(l1_ratio=0.7), lambda **settings: SklearnElasticNet(l1_ratio=0.7, **settings)),
    ],
)
@pytest.mark.parametrize("lam", [1.0, 0.1, 0.01])
def test_minima_of_squares_are_those_of_scikit_learn(penalty, peer, lam):
    found = sparse_minimum(squares, INPUTS, penalty, lam, rtol=1e-11)
    expected = peer(alpha=lam, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X, Y).coef_
    assert found.converged and found.violation <= 1e-11 * found.first_violation
    np.testing.assert_allclose(found.theta, expected, rtol=1e-7, atol=1e-8)
    assert set(np.flatnonzero(found.theta)) == set(np.flatnonzero(expected))
    torch.testing.assert_close(found.outputs, INPUTS @ found.theta)
    value = squares(found.outputs).mean() + lam * penalty.value(found.theta)
    assert found.value == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("blocked", [0.0, 1e9])
def test_a_logistic_regression_with_a_free_intercept_is_optimal(blocked, monkeypatch):
    monkeypatch.setattr(working_set, "_BLOCKED", blocked)  # all by Gram matrices, or by products
    labels = (TARGETS > 1).double()
    inputs = torch.cat([INPUTS, torch.ones(N, 1).double()], 1)
    weight = torch.ones(P + 1).double()
    weight[-1] = 0

    def loss(z):
        return binary_cross_entropy_with_logits(z, labels, reduction="none")

    found = sparse_minimum(loss, inputs, L1(weight=weight), 0.03, rtol=1e-10)
    slope = inputs.T @ (torch.sigmoid(inputs @ found.theta) - labels) / N
    moved = found.theta[:-1] != 0
    torch.testing.assert_close(slope[:-1][moved], -0.03 * found.theta[:-1][moved].sign())
    assert slope[:-1][~moved].abs().max() < 0.03 and abs(slope[-1]) < 1e-9 and found.theta[-1] != 0
    # Columns that stay at their kink are left alone, and a start at the minimum has nothing to do.
    assert 0 < int(moved.sum()) < max(found.sets) < P
    again = sparse_minimum(loss, inputs, L1(weight=weight), 0.03, start=found.theta, rtol=1e-9)
    assert again.sets == () and again.steps == 0 and again.converged
    assert sparse_minimum(loss, inputs, L1(weight=weight), 0.03, max_sets=1).reason == "max_iter"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="sum over single weights"):
        sparse_minimum(squares, INPUTS, GroupLasso(groups=[[0, 1]]), 0.1)
    with pytest.raises(ValueError, match=r"loss of each sample, shape \(120,\), got \(\)"):
        sparse_minimum(lambda z: squares(z).mean(), INPUTS, L1(), 0.1)
    with pytest.raises(TypeError, match="X as a floating-point tensor"):
        sparse_minimum(squares, X, L1(), 0.1)
