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
from torch.nn.functional import logsigmoid, softplus

from rlhf_lib import exact_hessian, newton
from rlhf_lib.regularizers import L1, L1SP, L2SP, ElasticNet, GroupLasso


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


def softplus_pair(t):
    return torch.nn.functional.softplus(2 * t).sum() - t[0] - 0.5 * t[1] + 0.1 * t[0] * t[1]


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
    first = next(
        newton(
            quadratic(A, randn(5)),
            torch.zeros(5).double(),
            damping=7.0,
            regularizer="l2",
            lambda_reg=0.5,
        )
    )
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambda_reg": 0.1}, "no effect without a penalty"),
        ({"lambda_reg": -0.1, "regularizer": "l2"}, "lambda_reg >= 0"),
        ({"lambda_reg": math.nan, "regularizer": "l2"}, "lambda_reg >= 0"),
        ({"damping": -1.0}, "damping: expected a finite number >= 0"),
        ({"damping": math.inf}, "damping: expected a finite number >= 0"),
        ({"regularizer": "ridge"}, "one of"),
        ({"theta0": torch.zeros(2, 2)}, r"theta0 of shape \(n,\), n > 0, got \(2, 2\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**{"f": saddle, "theta0": numbers(1, 1), **arguments})


@pytest.mark.parametrize(
    ("f", "theta0", "message"),
    [
        (saddle, torch.tensor([1, 2]), "floating point type, got torch.int64"),
        (saddle, 3, "floating point type, got torch.int64"),
        (saddle, "start", "a tensor of shape .*, got str"),
        (lambda t: 1.0, [1.0], "scalar tensor computed from theta, got float"),
        (lambda t: t.detach().sum(), [1.0], "got one that does not depend on theta"),
        (lambda t: t * t, [1.0, 2.0], r"got a tensor of shape \(2,\)"),
        (lambda t: np.float64(1.0), [1.0], "got float64"),
    ],
)
def test_what_is_no_start_or_no_loss_is_named(f, theta0, message):
    with pytest.raises(TypeError, match=message):
        run(f, theta0)


def test_a_list_or_an_array_is_a_start():
    for start in ([0.5, 0.25], np.array([0.5, 0.25]), (0.5, 0.25)):
        last = run(lambda t: (t * t).sum(), start)[-1]
        assert last.reason == "converged" and not bool(last.theta.any())
    with pytest.raises(ValueError, match="n > 0"):
        run(saddle, torch.zeros(0))


@pytest.mark.parametrize("unit", [1e-100, 1e-20, 1e-9])
def test_a_small_unit_of_the_loss_is_no_minimum(unit):
    f, start = softplus_pair, numbers(0.5, -0.25)
    plain = run(f, start)
    small = run(lambda t: unit * f(t), start)
    assert small[-1].reason == "converged" and small[-1].step >= plain[-1].step - 1 > 0
    close(small[-1].theta, plain[-1].theta, rtol=1e-6)
    again = run(lambda t: unit * f(t), plain[-1].theta)
    assert again[-1].reason == "converged" and again[-1].step <= 2
    for method in ("orthant", "proximal"):
        kinked, kinked_small = (
            run(lambda t, s=s: s * f(t), start, regularizer="l1", lambda_reg=0.1 * s, method=method)
            for s in (1.0, unit)
        )
        assert kinked_small[-1].reason == "converged" and kinked_small[-1].step > 0
        close(kinked_small[-1].theta, kinked[-1].theta, rtol=1e-6)


def test_a_weight_that_the_data_does_not_see_falls_to_its_kink_from_anywhere():
    start = numbers(1e15, 1.0)
    last = run(lambda t: (t[1] - 1).square(), start, regularizer="l1", lambda_reg=0.1)[-1]
    assert last.reason == "converged" and last.step <= 5
    close(last.theta, numbers(0.0, 0.95))


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
    records = run(
        lambda w: 0.5 * (X @ w - y).pow(2).mean(),
        torch.zeros(5).double(),
        regularizer="l2",
        lambda_reg=0.3,
    )
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
    last = run(
        lambda w: 0.5 * (X @ w - y).pow(2).mean(),
        torch.zeros(12).double(),
        regularizer="l1",
        lambda_reg=alpha,
    )[-1]
    assert last.reason == "converged"
    close(last.theta, model.coef_, rtol=1e-9)
    assert (last.theta == 0).tolist() == (model.coef_ == 0).tolist()
    assert last.extra["nonzeros"] == int((model.coef_ != 0).sum())


def test_lasso_with_more_features_than_samples_is_solved_though_its_hessian_is_singular():
    X, y = randn(15, 40), randn(15, seed=1)
    model = Lasso(0.1, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(X.numpy(), y.numpy())
    records = run(
        lambda w: 0.5 * (X @ w - y).pow(2).mean(),
        torch.zeros(40).double(),
        regularizer="l1",
        lambda_reg=0.1,
    )
    assert records[-1].reason == "converged"
    assert float(records[-1].extra["eigenvalues"][0]) < 1e-12
    close(records[-1].theta, model.coef_, rtol=1e-8)
    assert (records[-1].theta == 0).tolist() == (model.coef_ == 0).tolist()


@pytest.mark.parametrize("lam", [0.1, 0.03])
def test_l1_logistic_regression_reaches_scikit_learns_optimum_and_support(cancer, lam):
    X, y = cancer
    model = LogisticRegression(
        l1_ratio=1,
        C=1 / (len(y) * lam),
        solver="saga",
        fit_intercept=False,
        tol=1e-10,
        max_iter=50_000,
    ).fit(X.numpy(), y.numpy())
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
    close(records[-1].theta, zero_start[-1].theta, rtol=1e-6)


@pytest.mark.parametrize("lam", [1e-1, 1e-3, 1e-5])
def test_l1_on_features_of_any_scale_takes_no_more_than_a_few_steps(cancer, lam):
    X, y = cancer
    X = X * 10 ** torch.linspace(3, -3, 30, dtype=torch.float64)
    start = torch.zeros(30).double()
    by_default, proximal = (
        run(logistic(X, y), start, regularizer="l1", lambda_reg=lam, method=method)
        for method in (None, "proximal")
    )
    assert by_default[-1].reason == "converged" and by_default[-1].step < 35
    assert by_default[-1].objective <= proximal[-1].objective * (1 + 1e-9)


def test_l1_follows_negative_curvature_downhill():
    records = run(saddle, numbers(0.5, 0.1), regularizer="l1", lambda_reg=0.05)
    assert records[1].reason == "negative_curvature"
    assert records[-1].reason == "converged"
    x, y = records[-1].theta.tolist()
    assert x == 0 and y == pytest.approx(1, abs=0.05)
    hessian = exact_hessian(saddle, records[-1].theta)
    assert float(torch.linalg.eigvalsh(hessian)[0]) > 0


# Modified directions.


@pytest.mark.parametrize("direction", ["cholesky", "saddle-free"])
def test_modified_directions_leave_the_saddle_that_newton_walks_into(direction):
    records = run(saddle, numbers(0.5, 0.2), direction=direction, line_search=True)
    last = records[-1]
    assert last.reason == "converged"
    close(last.theta, numbers(0, 1), rtol=1e-7, atol=1e-8)
    assert records[1].extra["jitter"] > 0 and last.extra["jitter"] == 0
    values = [r.objective for r in records]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("direction", "reason"),
    [
        ("newton", "converged"),
        ("cholesky", "not_positive_definite"),
        ("saddle-free", "negative_curvature"),
    ],
)
def test_the_first_step_of_each_direction_is_its_formula(direction, reason):
    theta = numbers(0.5, 0.2)
    H, g = torch.autograd.functional.hessian(saddle, theta), gradient(saddle, theta)
    step = run(saddle, theta, direction=direction, damping=0.1, max_steps=2)[1]
    jitter = step.extra["jitter"]
    damped = H + 0.1 * torch.eye(2).double()
    modified = {
        "newton": damped,
        "cholesky": damped + jitter * torch.eye(2).double(),
        "saddle-free": torch.diag(damped.diagonal().abs()),  # this H is diagonal
    }[direction]
    close(step.theta, theta - torch.linalg.solve(modified, g), rtol=1e-10)
    assert step.reason == reason and (jitter > 0) == (direction != "newton")


def test_on_a_convex_problem_all_directions_are_one():
    X, y = randn(40, 3), randn(40, seed=1).sign()
    plain, cholesky, saddle_free = (
        run(logistic(X, y), torch.zeros(3).double(), direction=direction)
        for direction in ("newton", "cholesky", "saddle-free")
    )
    for a, b, c in zip(plain, cholesky, saddle_free, strict=True):
        close(a.theta, b.theta, rtol=1e-10, atol=1e-12)
        close(a.theta, c.theta, rtol=1e-10, atol=1e-12)


# What a record says, and what a step costs.


def test_rho_compares_both_reductions_of_the_full_step():
    def f(t):
        return (softplus(t) + softplus(-t)).sum()

    theta = numbers(2.5)
    cut = run(f, theta, line_search=True, max_steps=2)[1]
    assert cut.step_length < 1
    H, g = torch.autograd.functional.hessian(f, theta), gradient(f, theta)
    d = -g / H[0, 0]
    predicted = -float(g @ d + 0.5 * d @ H @ d)
    assert cut.rho == pytest.approx(float(f(theta) - f(theta + d)) / predicted)


@pytest.mark.parametrize("method", ["orthant", "proximal"])
def test_rho_is_one_on_a_quadratic_also_with_a_kink(method):
    X, y = randn(40, 12), randn(40, seed=1)
    records = run(
        lambda w: 0.5 * (X @ w - y).pow(2).mean(),
        randn(12, seed=2),
        regularizer="l1",
        lambda_reg=0.1,
        method=method,
    )
    assert len(records) > 2 and records[-1].reason == "converged"
    for record in records[1:-1]:
        assert record.rho == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"line_search": True},
        {"regularizer": "l1", "lambda_reg": 0.01},
        {"regularizer": "l1", "lambda_reg": 0.01, "method": "proximal"},
    ],
)
def test_no_point_is_evaluated_twice_but_for_its_hessian(settings):
    X, y = randn(40, 4), randn(40, seed=1).sign()
    seen = []

    def f(w):
        seen.append(tuple(w.tolist()))
        return logistic(X, y)(w)

    records = run(f, randn(4, seed=5), **settings)
    points = [tuple(r.theta.tolist()) for r in records]
    assert [seen.count(point) for point in points] == [2] * len(points)


# Proximal steps and groups.


@pytest.mark.parametrize("penalty", [L1(), ElasticNet(l1_ratio=0.6), L1SP()])
def test_both_methods_for_kinks_end_at_the_same_point(cancer, penalty):
    X, y = cancer
    start = 0.1 * randn(30)
    both = [
        run(logistic(X, y), start, regularizer=penalty, lambda_reg=0.02, method=method, tol=1e-10)
        for method in ("orthant", "proximal")
    ]
    orthant, proximal = (records[-1] for records in both)
    assert orthant.reason == proximal.reason == "converged"
    close(proximal.theta, orthant.theta, rtol=1e-7)
    kink = start if isinstance(penalty, L1SP) else torch.zeros(30)
    assert torch.equal(proximal.theta == kink, orthant.theta == kink)
    assert 0 < int((proximal.theta == kink).sum()) < 30
    assert all(record.products > 0 for record in both[1][1:])
    default = run(logistic(X, y), start, regularizer=penalty, lambda_reg=0.02, tol=1e-10)
    assert torch.equal(default[-1].theta, orthant.theta)


@pytest.mark.parametrize("method", ["orthant", "proximal"])
def test_entries_reach_a_far_centre_exactly(method):
    center = 1e-3 * randn(12)
    last = run(
        quadratic(spd(12), randn(12, seed=1)),
        30 * randn(12, seed=2),
        method=method,
        regularizer=L1(center=center),
        lambda_reg=0.8,
    )[-1]
    assert last.reason == "converged" and 3 < int((last.theta == center).sum()) < 12


def test_proximal_steps_converge_superlinearly(cancer):
    X, y = cancer

    def f(w):  # softplus jumps by 2e-9 at 20, where torch takes its asymptote
        return -logsigmoid(y * (X @ w)).mean()

    norms = [
        r.grad_norm
        for r in run(
            f,
            torch.zeros(30).double(),
            regularizer="l1",
            lambda_reg=0.01,
            method="proximal",
            tol=1e-14,
        )
    ]
    assert norms[-1] <= 1e-14 and len(norms) <= 11
    near = [g for g in norms if g < 1e-2 * norms[0]]
    factors = [b / a for a, b in pairwise(near)]
    assert factors[-1] < 1e-2


@pytest.mark.slow
def test_rank_deficient_lassos_with_small_lambda_are_all_solved_by_proximal_steps():
    for seed in range(40):
        X, y = randn(15, 40, seed=seed), randn(15, seed=seed + 1000)
        lam = (1e-2, 3e-3, 1e-3, 3e-4)[seed % 4]
        last = run(
            lambda w, X=X, y=y: 0.5 * (X @ w - y).pow(2).mean(),
            torch.zeros(40).double(),
            regularizer="l1",
            lambda_reg=lam,
            method="proximal",
        )[-1]
        assert last.reason == "converged" and last.step <= 10
        assert 0 < last.extra["nonzeros"] <= 15
        g = X.T @ (X @ last.theta - y) / 15
        assert float(g.abs().max()) <= lam + 1e-8
        on = last.theta != 0
        assert float((g[on] + lam * last.theta[on].sign()).abs().max()) <= 1e-8


def block_descent(X, y, groups, lam, sweeps=5000):
    """Group lasso for (X w - y)^2 / 2n with orthonormal blocks, X_g'X_g = n I (Yuan and Lin)."""
    n, w = len(y), torch.zeros(X.shape[1], dtype=torch.float64)
    for _ in range(sweeps):
        before = w.clone()
        for g in groups:
            s = X[:, g].T @ (y - X @ w + X[:, g] @ w[g]) / n
            shrink = max(0.0, 1 - lam * len(g) ** 0.5 / float(s.norm()))
            w[g] = shrink * s
        if float((w - before).norm()) < 1e-14:
            break
    return w


@pytest.mark.parametrize("lam", [0.02, 0.1, 0.2])
def test_group_lasso_agrees_with_block_coordinate_descent(lam):
    X, y = randn(60, 15), randn(60, seed=1)
    groups = [torch.arange(0, 2), torch.arange(2, 6), torch.arange(6, 9), torch.arange(9, 15)]
    X[:, 6:] += X[:, :1]  # correlated between the groups
    for g in groups:
        X[:, g] = torch.linalg.qr(X[:, g])[0] * 60**0.5
    y = y + X[:, :2].sum(1)
    last = run(
        lambda w: 0.5 * (X @ w - y).pow(2).mean(),
        torch.zeros(15).double(),
        regularizer=GroupLasso(groups=groups),
        lambda_reg=lam,
        tol=1e-10,
    )[-1]
    assert last.reason == "converged"
    expected = block_descent(X, y, groups, lam)
    close(last.theta, expected, rtol=1e-8)
    assert torch.equal(last.theta == 0, expected == 0)
    if lam == 0.1:
        zero = [not last.theta[g].any() for g in groups]
        assert any(zero) and not all(zero)


def test_group_lasso_for_an_orthonormal_design_is_its_prox():
    q, b = torch.linalg.qr(randn(8, 8))[0], 2 * randn(8, seed=1)
    penalty = GroupLasso(groups=torch.arange(8) // 2)
    last = run(
        lambda w: 0.5 * (q @ w - b).pow(2).sum(),
        randn(8, seed=2),
        regularizer=penalty,
        lambda_reg=1.3,
    )[-1]
    close(last.theta, GroupLasso(groups=torch.arange(8) // 2, weight=1.3).prox(q.T @ b), rtol=1e-8)
    # The eigenvalues are those of the whole objective, with the groups' curvature.
    on = last.theta != 0
    assert 0 < int(on.sum()) < 8
    assert float(last.extra["eigenvalues"][-1]) > 1.1


@pytest.mark.parametrize("direction", ["newton", "cholesky", "saddle-free"])
def test_proximal_steps_go_downhill_from_a_saddle(direction):
    for start in (numbers(0.5, 0.1), numbers(-1.0, 0.7)):
        records = run(
            saddle, start, regularizer="l1", lambda_reg=0.05, method="proximal", direction=direction
        )
        assert records[-1].reason == "converged"
        values = [r.objective for r in records]
        assert all(b <= a for a, b in pairwise(values))
        reasons, jitters = [r.reason for r in records], [r.extra["jitter"] for r in records]
        if direction != "newton":  # their models are positive definite
            assert "negative_curvature" not in reasons
        elif start[1] == 0.1:
            assert reasons[1] == "negative_curvature"
        assert any(jitters) == (direction != "newton" and start[1] == 0.1)
        x, y = records[-1].theta.tolist()
        assert x == 0 and abs(y) == pytest.approx(1, abs=0.05)


def test_an_object_with_weights_leaves_the_intercept_free(cancer):
    X, y = cancer
    X = torch.cat([X, torch.ones(len(X), 1)], dim=1)
    weight = torch.ones(31, dtype=torch.float64)
    weight[-1] = 0
    for method in ("orthant", "proximal"):
        last = run(
            logistic(X, y),
            torch.zeros(31).double(),
            regularizer=L1(weight=weight),
            lambda_reg=0.01,
            method=method,
        )[-1]
        assert last.objective == pytest.approx(0.15930738045800086, rel=1e-12)
        assert last.extra["nonzeros"] == 10 and bool(last.theta[-1] != 0)


def test_a_smooth_penalty_may_be_handled_by_its_prox(cancer):
    X, y = cancer
    for name in ("l2", "pseudo-huber"):
        plain = run(
            logistic(X, y),
            torch.zeros(30).double(),
            regularizer=name,
            lambda_reg=0.05,
            line_search=True,
            tol=1e-10,
        )[-1]
        proximal = run(
            logistic(X, y),
            torch.zeros(30).double(),
            regularizer=name,
            lambda_reg=0.05,
            method="proximal",
            tol=1e-10,
        )[-1]
        assert plain.reason == proximal.reason == "converged"
        close(proximal.theta, plain.theta, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": "lu"}, "expected direction newton, cholesky, saddle-free, got 'lu'"),
        ({"method": "simplex"}, "method 'orthant' or 'proximal' or None, got 'simplex'"),
        (
            {"regularizer": GroupLasso(groups=torch.tensor([0, 0])), "method": "orthant"},
            "use the proximal method",
        ),
        ({"regularizer": "group-lasso"}, "pass groups="),
    ],
)
def test_bad_methods_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(saddle, numbers(1, 1), **arguments)
