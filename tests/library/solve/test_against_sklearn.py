"""Penalized regressions on scikit-learn's bundled data: its optima, along warm-started paths.

Data are standardized (ddof 0), the intercept is not penalized. scikit-learn's solver for kinks,
saga, is accurate to the last digits here but takes thousands of passes for small lambda, so the
fast paths end where it still takes seconds; the slow tests go further down. Digits are 3 against 8
in the fast tests, for the sake of saga's time, and all ten classes in a slow one.
"""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet as SklearnElasticNet
from sklearn.linear_model import Lasso, LogisticRegression
from torch.nn.functional import cross_entropy, logsigmoid

from rlhf_lib import newton
from rlhf_lib.regularizers import L1, L2, ElasticNet

METHODS = ("orthant", "proximal")
LEAST = {"breast-cancer": 0.05, "digits": 0.03}  # of the lambda at which all weights vanish

FURTHER = {"breast-cancer": 0.01, "digits": 0.003}  # below, saga stops short of 1e-9 after minutes


def standardized(X):
    X = X[:, X.std(0) > 0]
    return (X - X.mean(0)) / X.std(0)


@cache
def data(name):
    """(X of shape (n, p), labels 0 and 1)."""
    if name == "breast-cancer":
        X, y = load_breast_cancer(return_X_y=True)
        return standardized(X), y
    X, y = load_digits(return_X_y=True)
    chosen = np.isin(y, (3, 8))
    return standardized(X[chosen]), (y[chosen] == 8).astype(int)


def problem(X, y):
    """(f, weight): the mean logistic loss of p weights and an intercept, which weighs nothing."""
    inputs = torch.tensor(np.column_stack([X, np.ones(len(X))]))
    signs = torch.tensor(2.0 * y - 1)
    weight = torch.ones(X.shape[1] + 1, dtype=torch.float64)
    weight[-1] = 0
    # Not softplus: torch's jumps by 2e-9 at 20, where it takes the asymptote.
    return lambda w: -logsigmoid(signs * (inputs @ w)).mean(), weight


def path(X, y, l1_ratio, least, count=10):
    """lambdas from where the first weight appears down to a fraction ``least`` of it."""
    most = np.abs(X.T @ (y - y.mean())).max() / len(X) / l1_ratio
    return most * np.logspace(np.log10(0.8), np.log10(least), count)


@cache
def saga(name, l1_ratio, least):
    """[(lambda, its p weights and intercept)], each from the one before."""
    X, y = data(name)
    model = LogisticRegression(
        l1_ratio=l1_ratio,
        solver="saga",
        tol=1e-10,
        max_iter=100_000,
        warm_start=True,
        random_state=0,
    )
    found = []
    for lam in path(X, y, l1_ratio, least):
        model.C = 1 / (len(X) * lam)
        model.fit(X, y)
        found.append((lam, torch.tensor([*model.coef_[0], *model.intercept_])))
    return found


def check_kkt(f, weight, l1_ratio, lam, theta):
    """The optimality conditions, independent of any solver: |gradient| <= lambda at zeros, ..."""
    leaf = theta.clone().requires_grad_(True)
    g = torch.autograd.grad(f(leaf), leaf)[0] + lam * (1 - l1_ratio) * weight * theta
    kink = lam * l1_ratio * weight
    zero = (theta == 0) & (weight > 0)
    assert bool((g[zero].abs() <= kink[zero]).all())
    assert float((g + kink * theta.sign())[~zero].abs().max()) < 1e-9


def check_path(name, l1_ratio, method, least):
    f, weight = problem(*data(name))
    penalty = ElasticNet(l1_ratio=l1_ratio, weight=weight)
    theta, supports = torch.zeros_like(weight), []
    for lam, reference in saga(name, l1_ratio, least):
        *_, last = newton(f, theta, regularizer=penalty, lambda_reg=lam, method=method, tol=1e-10)
        theta = last.theta
        assert last.reason == "converged"
        objective = float(f(reference) + lam * penalty.value(reference))
        assert last.objective == pytest.approx(objective, rel=1e-9)
        assert last.objective <= objective * (1 + 1e-14)
        assert torch.equal(theta == 0, reference == 0)
        check_kkt(f, weight, l1_ratio, lam, theta)
        supports.append(last.extra["nonzeros"])
    assert len(supports) == 10 and supports[0] < supports[-1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("name", LEAST)
def test_ten_lambdas_reach_sagas_objective_and_support(name, l1_ratio, method):
    check_path(name, l1_ratio, method, LEAST[name])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("name", LEAST)
def test_ten_smaller_lambdas_too(name, l1_ratio, method):
    check_path(name, l1_ratio, method, FURTHER[name])


@pytest.mark.slow
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_all_ten_digits_with_the_exact_multinomial_hessian(l1_ratio):
    X, y = load_digits(return_X_y=True)
    X = standardized(X)
    n, p = X.shape
    inputs, labels = torch.tensor(np.column_stack([X, np.ones(n)])), torch.tensor(y)
    weight = torch.ones(10, p + 1, dtype=torch.float64)
    weight[:, -1] = 0
    penalty = ElasticNet(l1_ratio=l1_ratio, weight=weight.reshape(-1))

    def f(w):
        return cross_entropy(inputs @ w.view(10, p + 1).T, labels)

    start = {method: torch.zeros(10 * (p + 1), dtype=torch.float64) for method in METHODS}
    model = LogisticRegression(
        l1_ratio=l1_ratio,
        solver="saga",
        tol=1e-9,
        max_iter=100_000,
        warm_start=True,
        random_state=0,
    )
    for lam in np.geomspace(0.15, 0.04, 10):
        model.C = 1 / (n * lam)
        model.fit(X, y)
        reference = torch.tensor(np.column_stack([model.coef_, model.intercept_])).reshape(-1)
        objective = float(f(reference) + lam * penalty.value(reference))
        for method in METHODS:
            *_, last = newton(f, start[method], regularizer=penalty, lambda_reg=lam, method=method)
            start[method] = last.theta
            assert last.reason == "converged"
            assert last.objective == pytest.approx(objective, rel=1e-9)
            assert torch.equal(last.theta == 0, reference == 0)


@pytest.mark.parametrize("method", METHODS)
def test_the_known_value_of_l1_on_breast_cancer(method):
    f, weight = problem(*data("breast-cancer"))
    *_, last = newton(
        f,
        torch.zeros_like(weight),
        regularizer=L1(weight=weight),
        lambda_reg=0.01,
        method=method,
        tol=1e-10,
    )
    assert last.objective == pytest.approx(0.15930738045800086, rel=1e-13)
    assert last.extra["nonzeros"] == 10 and bool(last.theta[-1] != 0)
    check_kkt(f, weight, 1.0, 0.01, last.theta)


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("lam", [1.0, 0.01, 1e-4])
def test_l2_agrees_with_newton_cg(name, lam):
    X, y = data(name)
    f, weight = problem(X, y)
    model = LogisticRegression(C=1 / (len(X) * lam), solver="newton-cg", tol=1e-12, max_iter=1000)
    with warnings.catch_warnings():  # its line search gives up at rounding, after it has arrived
        warnings.simplefilter("ignore")
        model.fit(X, y)
    reference = torch.tensor([*model.coef_[0], *model.intercept_])
    penalty = L2(weight=weight)
    *_, last = newton(
        f,
        torch.zeros_like(weight),
        regularizer=penalty,
        lambda_reg=lam,
        line_search=True,
        tol=1e-10,
    )
    assert last.reason == "converged"
    objective = float(f(reference) + lam * penalty.value(reference))
    assert last.objective == pytest.approx(objective, rel=1e-12)
    torch.testing.assert_close(last.theta, reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_lasso_and_elastic_net_agree_with_coordinate_descent(l1_ratio, method):
    X, y = load_diabetes(return_X_y=True)
    X = standardized(X)
    inputs, targets = torch.tensor(X), torch.tensor((y - y.mean()) / y.std())
    theta = torch.zeros(X.shape[1], dtype=torch.float64)
    most = float((inputs.T @ targets).abs().max()) / len(X) / l1_ratio
    for lam in most * np.geomspace(0.8, 1e-3, 10):
        settings = {"fit_intercept": False, "tol": 1e-14, "max_iter": 1_000_000}
        model = (
            Lasso(lam, **settings)
            if l1_ratio == 1
            else SklearnElasticNet(lam, l1_ratio=l1_ratio, **settings)
        )
        with warnings.catch_warnings():  # a duality gap of 1e-14 is below its rounding
            warnings.simplefilter("ignore", ConvergenceWarning)
            reference = torch.tensor(model.fit(X, targets.numpy()).coef_)
        *_, last = newton(
            lambda w: 0.5 * (inputs @ w - targets).pow(2).mean(),
            theta,
            regularizer=ElasticNet(l1_ratio=l1_ratio),
            lambda_reg=lam,
            method=method,
            tol=1e-10,
        )
        theta = last.theta
        assert last.reason == "converged"
        torch.testing.assert_close(theta, reference, rtol=1e-6, atol=1e-9)
        assert torch.equal(theta == 0, reference == 0)
