"""Classic problems: the same minimum as SciPy's, in about as many outer iterations."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from cases import classification, close, flat, mlp, randn, spd
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from rlhf_lib import RLHFOptimizer, newton
from rlhf_lib.regularizers import L1, GroupLasso
from rlhf_lib.step import ConjugateGradients


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def beale(x):
    y = x[1]
    terms = [(c - x[0] * (1 - y**k)) ** 2 for k, c in ((1, 1.5), (2, 2.25), (3, 2.625))]
    return sum(terms)


def powell_singular(x):
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


MATRIX, SIDE = spd(30, condition=1e6), randn(30, seed=1)


def ill_conditioned(x):
    return 0.5 * x @ (MATRIX @ x) - SIDE @ x


TALL = randn(20, 4) @ randn(4, 10, seed=1)
WANTED = randn(20, seed=2)


def rank_deficient(x):
    return 0.5 * ((TALL @ x - WANTED) ** 2).sum()


def saddle(x):
    return 0.5 * (x[0] ** 2 - x[1] ** 2) + 0.25 * x[1] ** 4


def monkey_saddle(x):
    return x[0] ** 3 - 3 * x[0] * x[1] ** 2 + 0.25 * (x[0] ** 2 + x[1] ** 2) ** 2


PROBLEMS = {
    "Rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "Rosenbrock in ten dimensions": (rosenbrock, [0.5] * 10),
    "Beale": (beale, [1.0, 1.0]),
    "Powell singular": (powell_singular, [3.0, -1.0, 0.0, 1.0]),
    "ill-conditioned quadratic": (ill_conditioned, [0.0] * 30),
    "rank-deficient least squares": (rank_deficient, [0.0] * 10),
    "saddle": (saddle, [1.0, 1e-3]),
    "monkey saddle": (monkey_saddle, [1e-2, 1e-2]),
}
GTOL = 1e-8


def by_scipy(f, start, method):
    def function(x):
        return float(f(torch.from_numpy(x)))

    def gradient(x):
        x = torch.from_numpy(x).requires_grad_(True)
        return torch.autograd.grad(f(x), x)[0].numpy()

    def hessian(x):
        return torch.autograd.functional.hessian(f, torch.from_numpy(x)).numpy()

    options = {"gtol": GTOL} if method == "trust-ncg" else {"xtol": 1e-12}
    return minimize(
        function,
        np.array(start),
        jac=gradient,
        hess=hessian,
        method=method,
        options={**options, "maxiter": 500},
    )


def by_us(f, start, most=200, **options):
    """(point, steps) until the gradient is as small as SciPy's has to be."""
    w = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimizer = RLHFOptimizer(
        [w], regularizer=None, curvature="hessian", rtol=1e-10, max_iter=200, **options
    )
    for step in range(most):
        (slope,) = torch.autograd.grad(f(w), w)
        if float(slope.norm()) < GTOL:
            return w.detach(), step
        optimizer.step(lambda: f(w))
    return w.detach(), most


WAYS = {
    "trust region": {"radius": 1.0, "damping": 0.0, "damping_rule": "fixed"},
    "damping": {"damping": 1.0},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_trust_region_reaches_scipys_minimum_in_about_its_iterations(name):
    f, start = PROBLEMS[name]
    theirs = by_scipy(f, start, "trust-ncg")
    x, steps = by_us(f, start, **WAYS["trust region"])
    assert float(f(x)) <= theirs.fun + 1e-10 * max(1.0, abs(theirs.fun))
    assert steps <= theirs.nit + 2, (steps, theirs.nit)
    if name not in ("rank-deficient least squares", "saddle", "monkey saddle"):
        close(x, torch.from_numpy(theirs.x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in PROBLEMS if "saddle" not in name])
def test_damped_steps_reach_the_minimum_of_newton_cg_in_about_its_iterations(name):
    f, start = PROBLEMS[name]
    theirs = by_scipy(f, start, "Newton-CG")
    x, steps = by_us(f, start, **WAYS["damping"])
    assert float(f(x)) <= theirs.fun + 1e-10 * max(1.0, abs(theirs.fun))
    assert steps <= 2 * theirs.nit, (steps, theirs.nit)


def test_rank_deficient_least_squares_ends_at_the_solution_of_least_norm():
    x, _ = by_us(rank_deficient, [0.0] * 10, **WAYS["trust region"])
    close(x, torch.linalg.pinv(TALL) @ WANTED, rtol=1e-7)


# Penalties with kinks by proximal steps.


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = (X - X.mean(0)) / X.std(0)
    return X, y


@pytest.mark.parametrize("lam", [0.1, 0.02])
def test_proximal_steps_reach_scikit_learns_l1_logistic_regression(cancer, lam):
    X, y = cancer
    theirs = LogisticRegression(
        solver="saga", l1_ratio=1.0, C=1 / (lam * len(y)), tol=1e-12, max_iter=100000
    ).fit(X, y)
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y).double()
    net = nn.Linear(30, 1).double()
    with torch.no_grad():
        net.weight.zero_(), net.bias.zero_()

    def closure():
        z = net(inputs)[:, 0]
        return F.binary_cross_entropy_with_logits(z, labels), z

    optimizer = RLHFOptimizer(
        net.parameters(),
        lambda_reg=lam,
        regularizer="l1",
        damping=1e-3,
        kinks="proximal",
        rtol=1e-3,
        max_iter=200,
    )
    for _ in range(40):
        optimizer.step(closure)
        if optimizer.record.grad_norm < 1e-10:
            break
    z = X @ theirs.coef_[0] + theirs.intercept_[0]
    expected = np.logaddexp(0, z).mean() - (y * z).mean() + lam * np.abs(theirs.coef_).sum()
    reached = float(closure()[0].detach()) + optimizer.penalty()
    assert optimizer.record.extra["solver"] == "proximal"
    assert reached <= expected * (1 + 1e-9)
    assert reached == pytest.approx(expected, rel=1e-8)
    assert ((net.weight.detach().numpy() != 0) == (np.abs(theirs.coef_) > 1e-9)).all()


def test_both_ways_over_kinks_meet():
    X, Y = classification(40, features=6)
    ends = []
    for kinks in ("orthant", "proximal"):
        net = mlp(6, 3)
        optimizer = RLHFOptimizer(
            net.parameters(), lambda_reg=0.03, damping=0.01, kinks=kinks, rtol=1e-10, max_iter=500
        )
        for _ in range(60):
            optimizer.step(lambda net=net: (F.cross_entropy(z := net(X), Y), z))
        assert optimizer.record.grad_norm < 1e-8
        ends.append(flat(net.parameters()))
    assert torch.equal(ends[0] == 0, ends[1] == 0) and (ends[0] == 0).any()
    # Cross-entropy fixes the biases up to one number for all, so that the weights alone compare.
    close(ends[0][:18], ends[1][:18], atol=1e-6)


@pytest.mark.parametrize("solver, keep_graph", [("cg", True), (ConjugateGradients(), False)])
def test_orthant_steps_get_on_with_features_of_any_scale(solver, keep_graph):
    X, y = map(torch.from_numpy, load_breast_cancer(return_X_y=True))  # from 1e-3 to 4e3
    net = nn.Linear(30, 1).double()
    nn.init.zeros_(net.weight), nn.init.zeros_(net.bias)

    def closure():
        z = net(X)[:, 0]
        return F.binary_cross_entropy_with_logits(z, y.double()), z

    optimizer = RLHFOptimizer(net.parameters(), 1.0, 1e-3, solver=solver, keep_graph=keep_graph)
    solvers = set()
    for _ in range(35):
        optimizer.step(closure)
        solvers.add(optimizer.record.extra["solver"])
    found = newton(
        lambda w: F.binary_cross_entropy_with_logits(X @ w[:30] + w[30], y.double()),
        torch.zeros(31, dtype=torch.float64),
        regularizer=L1(weight=torch.tensor([1.0] * 30 + [0.0], dtype=torch.float64)),
        lambda_reg=1e-3,
        method="proximal",
    )
    assert optimizer.record.objective <= list(found)[-1].objective * (1 + 1e-6)
    assert solvers == {"cg", "proximal"}


def test_group_lasso_zeroes_whole_rows_of_a_first_layer():
    X = randn(60, 4)
    Y = (X @ randn(4, 3, seed=1)).argmax(1)
    net = mlp(4, 12, 3)
    optimizer = RLHFOptimizer(
        net.parameters(), lambda_reg=0.01, regularizer=GroupLasso(), damping=0.1, max_iter=100
    )
    values = []
    for _ in range(60):
        optimizer.step(lambda: (F.cross_entropy(z := net(X), Y), z))
        values.append(optimizer.record.objective)
    rows = net[0].weight.detach()
    zero = (rows == 0).all(1)
    assert 0 < int(zero.sum()) < 12
    assert torch.equal(zero, (rows == 0).any(1))  # whole rows or none of it
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values))
    assert optimizer.record.grad_norm < 1e-3
