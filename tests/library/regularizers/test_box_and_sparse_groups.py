"""Bounds, and the sparse group lasso, against SciPy and their conditions of optimality."""

import math

import pytest
import torch
from cases import close, few_cases, randn, seeds
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear, minimize, nnls
from torch import nn

from rlhf_lib import RLHFOptimizer, newton
from rlhf_lib.regularizers import Box, NonNegative, SparseGroupLasso, make_regularizer

IDS = torch.tensor([0, 0, 0, 1, 1, 2, -1, -1])


@few_cases
@given(seed=seeds, step=st.floats(0.01, 3), ratio=st.floats(0, 1))
def test_the_prox_of_the_sparse_group_lasso_has_its_optimality_conditions(seed, step, ratio):
    x, penalty = 2 * randn(8, seed=seed), SparseGroupLasso(groups=IDS, l1_ratio=ratio)
    z = penalty.prox(x, step)
    assert torch.equal(z[IDS < 0], x[IDS < 0])
    for g, size in enumerate((3, 2, 1)):
        zg, pull = z[g == IDS], (x - z)[g == IDS]
        each, whole = step * ratio, step * (1 - ratio) * math.sqrt(size)
        rest = pull - pull.clamp(-each, each)
        if not bool(zg.any()):
            assert float(rest.norm()) <= whole * (1 + 1e-9) + 1e-12
            continue
        pull = pull - whole * zg / zg.norm()
        close(pull[zg != 0], each * zg[zg != 0].sign(), rtol=1e-9)
        assert bool((pull[zg == 0].abs() <= each * (1 + 1e-9) + 1e-12).all())


def test_the_sparse_group_lasso_is_both_lassos_at_its_ends_and_sparse_between():
    X, y = randn(40, 8), randn(40, seed=1)
    f = lambda t: (X @ t - y - 2 * X[:, 0]).square().mean() / 2  # noqa: E731
    start, penalty = torch.zeros(8).double(), SparseGroupLasso(groups=IDS, l1_ratio=0.7)
    last = list(newton(f, start, regularizer=penalty, lambda_reg=0.3))[-1]
    assert last.reason == "converged"
    assert bool(last.theta[0]) and 0 < int((last.theta[:3] == 0).sum()) < 3
    # In positive and negative parts the problem is smooth but for whole groups that are zero.
    groups = [(IDS == g).nonzero()[:, 0].numpy() for g in range(3)]

    def objective(parts):
        t = parts[:8] - parts[8:]
        fit = float(f(torch.tensor(t)))
        single = 0.3 * 0.7 * sum(parts[i] + parts[8 + i] for i in range(6))
        whole = sum(math.sqrt(len(g)) * math.sqrt((t[g] ** 2).sum() + 1e-20) for g in groups)
        return fit + single + 0.3 * 0.3 * whole

    found = minimize(
        objective, torch.full((16,), 0.1).numpy(), bounds=[(0, None)] * 16, method="L-BFGS-B"
    )
    assert last.objective <= found.fun + 1e-9 and found.fun < last.objective + 1e-4


@pytest.mark.parametrize("n", [8, 30])
def test_non_negative_least_squares_is_that_of_scipy(n):
    X, y = randn(20, n), randn(20, seed=1)
    _, distance = nnls(X.numpy(), y.numpy())
    f = lambda t: (X @ t - y).square().sum()  # noqa: E731
    start = torch.zeros(n).double()
    last = list(newton(f, start, regularizer="non-negative", lambda_reg=1.0))[-1]
    assert last.reason == "converged" and bool((last.theta >= 0).all())
    assert last.loss == pytest.approx(distance**2, rel=1e-9)


def test_a_box_is_scipys_bounds():
    X, y = randn(30, 6), 3 * randn(30, seed=1)
    upper = torch.linspace(0, 1, 6).double()
    expected = lsq_linear(
        X.numpy(), y.numpy(), (-0.1, (upper + 1e-12).numpy()), method="bvls", tol=1e-14
    )
    penalty = Box(lower=-0.1, upper=upper)
    f = lambda t: (X @ t - y).square().sum() / 2  # noqa: E731
    last = list(newton(f, 0 * upper, regularizer=penalty, lambda_reg=1e-3))[-1]
    assert last.reason == "converged"
    close(last.theta, expected.x, rtol=1e-6)


def test_the_optimizer_keeps_weights_between_bounds_and_leaves_biases_free():
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 1).double(), randn(40, 6), randn(40, seed=1) - 3
    optimizer = RLHFOptimizer(
        model.named_parameters(), regularizer=NonNegative(), lambda_reg=1.0, damping=1e-3
    )

    def closure():
        out = model(x)[:, 0]
        return (out - y).square().mean(), out

    with pytest.raises(ValueError, match="between the bounds of NonNegative"):
        optimizer.step(closure)
    with torch.no_grad():
        model.weight.clamp_(0)
    for _ in range(10):
        optimizer.step(closure)
    design = torch.cat([x, torch.ones(40, 1), -torch.ones(40, 1)], 1)
    _, distance = nnls(design.double().numpy(), y.numpy())
    assert optimizer.record.loss == pytest.approx(distance**2 / 40, rel=1e-6)
    assert bool((model.weight >= 0).all()) and bool(model.bias < 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(lower=1.0, upper=0.0), "expected lower <= upper"),
        (lambda: Box(upper=math.nan), "expected lower <= upper"),
        (lambda: Box(center=torch.ones(2)), "expected no center"),
        (lambda: SparseGroupLasso(l1_ratio=2.0), "0 <= l1_ratio <= 1"),
        (lambda: make_regularizer("box"), "non-negative"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
