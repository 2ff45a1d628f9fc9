import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from cases import close, few_cases, gradient, randn, seeds, spd
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import Lasso, LogisticRegression
from torch.nn.functional import softplus

from rlhf_lib import exact_hessian, newton
from rlhf_lib.regularizers import L1, L2SP, ElasticNet


def run(*args, **kwargs):
    return list(newton(*args, **kwargs))


def quadratic(A, b):
    return lambda t: 0.5 * t @ A @ t - b @ t


def saddle(t):
    """x^2 - y^2 + y^4 / 2: a saddle at 0, minima at y = -1 and 1 with value -1/2."""
    return t[0] ** 2 - t[1] ** 2 + 0.5 * t[1] ** 4


def logistic(X, y):
    return lambda w: softplus(-y * (X @ w)).mean()


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return torch.tensor((X - X.mean(0)) / X.std(0)), torch.tensor(2.0 * y - 1, dtype=torch.float64)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


# Smooth objectives.


@few_cases
@given(seed=seeds, n=st.integers(1, 8))
def test_a_quadratic_takes_one_step(seed, n):
    A, b = spd(n, seed), randn(n, seed=seed + 1)
    records = run(quadratic(A, b), randn(n, seed=seed + 2), tol=1e-6)
    assert [r.step for r in records] == [0, 1]
    close(records[-1].theta, torch.linalg.solve(A, b), rtol=1e-10)
    assert records[-1].reason == "converged" and records[-1].rho == pytest.approx(1.0)


def test_the_first_step_is_the_textbooks():
    X, y = randn(20, 4), randn(20, seed=1).sign()
    f, theta = logistic(X, y), randn(4, seed=2)
    H, g = torch.autograd.functional.hessian(f, theta), gradient(f, theta)
    first = run(f, theta, damping=0.3, max_steps=1)[1]
    close(first.theta, theta - torch.linalg.solve(H + 0.3 * torch.eye(4).double(), g), rtol=1e-12)
    assert first.damping == 0.3 and first.step_length == 1.0 and first.accepted
    assert first.step_norm == pytest.approx(float((first.theta - theta).norm()))


def test_convergence_is_quadratic():
    X, y = randn(40, 3), randn(40, seed=1).sign()
    norms = [r.grad_norm for r in run(logistic(X, y), torch.zeros(3).double(), tol=1e-14)]
    fast = [g for g in norms if 1e-7 < g < 1e-1]  # neither far away nor at rounding
    assert len(fast) >= 2
    for before, after in zip(fast, norms[norms.index(fast[0]) + 1 :], strict=False):
        assert math.log(after) / math.log(before) > 1.7
    assert norms[-1] < 1e-14


def test_damped_convergence_is_only_linear():
    X, y = randn(40, 3), randn(40, seed=1).sign()
    records = run(logistic(X, y), torch.zeros(3).double(), damping=0.1, tol=1e-10)
    norms = [r.grad_norm for r in records]
    ratios = [b / a for a, b in pairwise(norms[2:])]
    assert max(ratios) < 0.9 and min(ratios) > 0.1
    assert max(ratios[2:]) - min(ratios[2:]) < 0.15


def test_undamped_newton_walks_into_the_saddle_and_the_record_shows_it():
    last = run(saddle, numbers(0.5, 0.2))[-1]
    assert last.reason == "converged"
    close(last.theta, numbers(0, 0), atol=1e-8)
    close(last.extra["eigenvalues"], numbers(-2, 2), rtol=1e-6)


def test_enough_damping_escapes_from_the_saddle():
    last = run(saddle, numbers(0.5, 0.2), damping=2.5, max_steps=200)[-1]
    assert last.reason == "converged"
    close(last.theta, numbers(0, 1), rtol=1e-7)
    assert last.loss == pytest.approx(-0.5)


def test_eigenvalues_are_those_of_the_objective_ascending_without_damping():
    A = spd(5)
    first = next(newton(quadratic(A, randn(5)), torch.zeros(5).double(), damping=7.0,
                        regularizer="l2", lambda_reg=0.5))  # fmt: skip
    close(first.extra["eigenvalues"], torch.linalg.eigvalsh(A) + 0.5, rtol=1e-12)


def test_softplus_undamped_diverges_from_afar_and_a_line_search_saves_it():
    def f(t):  # least at t = 0, and almost linear beyond +-2
        return (softplus(t) + softplus(-t)).sum()

    plain = run(f, numbers(3.0), max_steps=8)
    assert abs(float(plain[1].theta)) > 3 and plain[-1].reason in ("singular", "not_finite")
    searched = run(f, numbers(3.0), line_search=True)
    assert searched[-1].reason == "converged" and abs(float(searched[-1].theta)) < 1e-8
    assert any(r.step_length < 1 for r in searched[1:])
    values = [r.objective for r in searched]
    assert values == sorted(values, reverse=True)


def test_rosenbrock_is_solved_by_newton():
    def rosenbrock(t):
        return 100 * (t[1] - t[0] ** 2) ** 2 + (1 - t[0]) ** 2

    plain = run(rosenbrock, numbers(-1.2, 1.0), tol=1e-9)
    assert plain[-1].reason == "converged" and plain[-1].step <= 7
    searched = run(rosenbrock, numbers(-1.2, 1.0), line_search=True, tol=1e-9)
    assert searched[-1].reason == "converged" and searched[-1].step < 30
    for records in (plain, searched):
        close(records[-1].theta, numbers(1, 1), rtol=1e-8)


# How it ends.


def test_a_singular_hessian_is_named_and_the_least_norm_step_taken():
    last = run(lambda t: (t[0] - 1) ** 2 + t[1], numbers(5.0, 2.0))[-1]
    assert last.reason == "singular"
    close(last.theta, numbers(1.0, 2.0))


def test_a_singular_hessian_with_a_solution_converges_to_the_nearest_one():
    last = run(lambda t: (t[0] + t[1] - 1) ** 2, numbers(3.0, 0.0))[-1]
    assert last.reason == "converged"
    close(last.theta, numbers(2.0, -1.0))


@pytest.mark.parametrize("start", [-1.0, 4.0])
def test_values_that_are_not_finite_are_named(start):
    # From 4 the step goes to the square root of a negative number, at -1 it starts there.
    records = run(lambda t: (t - t.sqrt()).sum(), numbers(start))
    assert records[-1].reason == "not_finite"
    assert math.isnan(records[-1].loss) or not math.isfinite(records[-1].grad_norm)
    assert bool(records[-1].extra["eigenvalues"].isnan().all())
    assert all(math.isfinite(r.loss) for r in records[:-1])


def test_running_out_of_steps_is_named():
    records = run(saddle, numbers(0.5, 0.2), damping=2.5, max_steps=3)
    assert [r.step for r in records] == [0, 1, 2, 3]
    assert [r.reason for r in records] == ["start", "converged", "converged", "max_steps"]


def test_no_decrease_along_the_direction_is_named():
    records = run(saddle, numbers(0.0, 0.2), line_search=True)  # Newton goes uphill to the saddle
    assert records[-1].reason == "line_search_failed"
    assert not records[-1].accepted and records[-1].step_norm == 0
    assert torch.equal(records[-1].theta, numbers(0.0, 0.2))


def test_a_start_at_the_minimum_is_the_only_record():
    records = run(quadratic(spd(3), torch.zeros(3).double()), torch.zeros(3).double())
    assert [(r.step, r.reason) for r in records] == [(0, "converged")]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"lambda_reg": 0.1}, "no effect without a penalty"),
    ({"lambda_reg": -0.1, "regularizer": "l2"}, "lambda_reg >= 0"),
    ({"lambda_reg": math.nan, "regularizer": "l2"}, "lambda_reg >= 0"),
    ({"damping": -1.0}, "finite damping >= 0"),
    ({"damping": math.inf}, "finite damping >= 0"),
    ({"regularizer": "ridge"}, "one of"),
    ({"theta0": torch.zeros(2, 2)}, r"theta0 of shape \(n,\), got \(2, 2\)"),
])  # fmt: skip
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**{"f": saddle, "theta0": numbers(1, 1), **arguments})


def test_the_start_is_left_alone_and_records_do_not_share_memory():
    theta0 = numbers(0.5, 0.2)
    records = run(saddle, theta0, max_steps=3)
    assert theta0.tolist() == [0.5, 0.2]
    assert len({r.theta.data_ptr() for r in records}) == len(records)


def test_it_works_under_no_grad():
    with torch.no_grad():
        assert run(saddle, numbers(0.5, 0.2))[-1].reason == "converged"


# Penalties.


def test_l2_is_closed_form_ridge_in_one_step():
    X, y = randn(30, 5), randn(30, seed=1)
    records = run(lambda w: 0.5 * (X @ w - y).pow(2).mean(), torch.zeros(5).double(),
                  regularizer="l2", lambda_reg=0.3)  # fmt: skip
    expected = torch.linalg.solve(X.T @ X / 30 + 0.3 * torch.eye(5).double(), X.T @ y / 30)
    assert [r.reason for r in records] == ["start", "converged"]
    close(records[-1].theta, expected, rtol=1e-12)
    assert records[-1].penalty == pytest.approx(0.15 * float(expected @ expected))
    assert records[-1].objective == records[-1].loss + records[-1].penalty


def test_lambda_moves_the_minimum_and_damping_does_not():
    X, y = randn(30, 5), randn(30, seed=1)

    def f(w):
        return 0.5 * (X @ w - y).pow(2).mean()

    start = torch.zeros(5).double()
    free = run(f, start)[-1].theta
    close(run(f, start, damping=0.1, max_steps=500)[-1].theta, free, rtol=1e-6)
    assert float((run(f, start, regularizer="l2", lambda_reg=0.1)[-1].theta - free).norm()) > 1e-2


def test_sp_penalties_pull_to_the_start():
    f = quadratic(spd(4), randn(4))
    start = randn(4, seed=3)
    near = run(f, start, regularizer="l2sp", lambda_reg=1e6)[-1]
    close(near.theta, start, rtol=1e-4)
    at_start = run(f, start, regularizer="l1sp", lambda_reg=1e3)
    assert torch.equal(at_start[-1].theta, start) and at_start[-1].reason == "converged"


def test_a_regularizer_object_serves_several_runs_each_from_its_own_start():
    penalty, f = L2SP(), quadratic(spd(2), randn(2))
    first = run(f, numbers(1, 1), regularizer=penalty, lambda_reg=1.0)
    again = run(f, numbers(-5, 3), regularizer=penalty, lambda_reg=1.0)
    assert first[0].penalty == again[0].penalty == 0
    fresh = run(f, numbers(-5, 3), regularizer="l2sp", lambda_reg=1.0)
    assert torch.equal(again[-1].theta, fresh[-1].theta)


@pytest.mark.parametrize("alpha", [0.3, 0.1, 0.03])
def test_lasso_agrees_with_coordinate_descent(alpha):
    X, y = randn(40, 12), randn(40, seed=1)
    X[:, 3] = X[:, 2] + 0.1 * X[:, 3]  # correlated, so that the support is not obvious
    model = Lasso(alpha, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X.numpy(), y.numpy())
    last = run(lambda w: 0.5 * (X @ w - y).pow(2).mean(), torch.zeros(12).double(),
               regularizer="l1", lambda_reg=alpha)[-1]  # fmt: skip
    assert last.reason == "converged"
    close(last.theta, model.coef_, rtol=1e-9)
    assert (last.theta == 0).tolist() == (model.coef_ == 0).tolist()
    assert last.extra["nonzeros"] == int((model.coef_ != 0).sum())


def test_lasso_with_more_features_than_samples_is_solved_though_its_hessian_is_singular():
    X, y = randn(15, 40), randn(15, seed=1)
    model = Lasso(0.1, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X.numpy(), y.numpy())
    records = run(lambda w: 0.5 * (X @ w - y).pow(2).mean(), torch.zeros(40).double(),
                  regularizer="l1", lambda_reg=0.1)  # fmt: skip
    assert "singular" in {r.reason for r in records} and records[-1].reason == "converged"
    close(records[-1].theta, model.coef_, rtol=1e-8)
    assert (records[-1].theta == 0).tolist() == (model.coef_ == 0).tolist()


@pytest.mark.parametrize("lam", [0.1, 0.01, 0.003])
def test_l1_logistic_regression_reaches_scikit_learns_optimum_and_support(cancer, lam):
    X, y = cancer
    model = LogisticRegression(
        l1_ratio=1, C=1 / (len(y) * lam), solver="saga", fit_intercept=False, tol=1e-10,
        max_iter=50_000,
    ).fit(X.numpy(), y.numpy())  # fmt: skip
    w = model.coef_[0]
    f = logistic(X, y)
    last = run(f, torch.zeros(30).double(), regularizer="l1", lambda_reg=lam)[-1]
    assert last.reason == "converged" and last.grad_norm <= 1e-8
    best = float(f(torch.tensor(w))) + lam * np.abs(w).sum()
    assert last.objective <= best + 1e-12
    assert last.objective == pytest.approx(best, rel=1e-9)
    assert (last.theta == 0).tolist() == (w == 0).tolist()


def test_elastic_net_satisfies_its_optimality_conditions(cancer):
    X, y = cancer
    penalty = ElasticNet(l1_ratio=0.3)
    f = logistic(X, y)
    theta = run(f, torch.zeros(30).double(), regularizer=penalty, lambda_reg=0.05, tol=1e-10)[-1]
    w, g = theta.theta, gradient(f, theta.theta) + 0.05 * 0.7 * theta.theta
    zero = w == 0
    assert 0 < int(zero.sum()) < 30
    assert float(g[zero].abs().max()) <= 0.05 * 0.3
    close(g[~zero], -0.05 * 0.3 * w[~zero].sign(), rtol=1e-7)


def test_a_strong_l1_penalty_gives_the_zero_vector_in_no_step(cancer):
    X, y = cancer
    most = float(gradient(logistic(X, y), torch.zeros(30).double()).abs().max())
    start = torch.zeros(30).double()
    above = run(logistic(X, y), start, regularizer="l1", lambda_reg=most * 1.0001)
    assert len(above) == 1 and above[0].reason == "converged"
    below = run(logistic(X, y), start, regularizer="l1", lambda_reg=most * 0.999)
    assert below[-1].extra["nonzeros"] == 1


def test_l1_descends_at_every_step_from_any_start(cancer):
    X, y = cancer
    records = run(logistic(X, y), randn(30), regularizer=L1(), lambda_reg=0.02)
    values = [r.objective for r in records]
    assert all(b < a for a, b in pairwise(values))
    zero_start = run(logistic(X, y), torch.zeros(30).double(), regularizer="l1", lambda_reg=0.02)
    close(records[-1].theta, zero_start[-1].theta, rtol=1e-7)


def test_l1_follows_negative_curvature_downhill():
    records = run(saddle, numbers(0.5, 0.1), regularizer="l1", lambda_reg=0.05)
    assert records[1].reason == "negative_curvature"
    assert records[-1].reason == "converged"
    x, y = records[-1].theta.tolist()
    assert x == 0 and y == pytest.approx(1, abs=0.05)
    hessian = exact_hessian(saddle, records[-1].theta)
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0
