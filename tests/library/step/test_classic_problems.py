"""Textbook problems for minimizers, by newton and by SciPy's second-order methods."""

import math
from itertools import pairwise

import pytest
import torch
from cases import close, gradient, randn, spd
from scipy.optimize import minimize

from rlhf_lib import exact_hessian, newton


def rosenbrock(t):
    return (100 * (t[1:] - t[:-1] ** 2) ** 2 + (1 - t[:-1]) ** 2).sum()


def beale(t):
    x, y = t
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def powell(t):
    a, b, c, d = t
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def monkey(t):
    """A monkey saddle at 0 in a bowl: minima where t lies 3/4 away in three directions."""
    x, y = t
    return x**3 - 3 * x * y**2 + (x * x + y * y) ** 2


def quadratic(condition):
    A, b = spd(20, 1, condition), randn(20, seed=2)
    return lambda t: 0.5 * t @ A @ t - b @ t


def rank_deficient(t):
    X, y = randn(12, 8, seed=3), randn(12, seed=4)
    X = torch.cat([X, X[:, :3]], dim=1)
    return 0.5 * (X @ t - y).pow(2).sum()


PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "rosenbrock in 10 dimensions": (rosenbrock, [-1.2, 1.0] * 5),
    "beale": (beale, [1.0, 1.0]),
    "powell singular": (powell, [3.0, -1.0, 0.0, 1.0]),
    "condition 1e4": (quadratic(1e4), [0.0] * 20),
    "condition 1e6": (quadratic(1e6), [1.0] * 20),
    "monkey saddle": (monkey, [0.1, 0.05]),
    "rank-deficient least squares": (rank_deficient, [0.0] * 11),
}
MINIMA = {
    "rosenbrock": 0.0,
    "rosenbrock in 10 dimensions": 0.0,
    "beale": 0.0,
    "powell singular": 0.0,
    "monkey saddle": -27 / 256,
}
# Where H is indefinite on the way, "newton" walks to the nearest saddle instead.
INDEFINITE = {"rosenbrock in 10 dimensions", "beale", "monkey saddle"}


def ours(name, direction, **settings):
    f, start = PROBLEMS[name]
    theta0 = torch.tensor(start, dtype=torch.float64)
    records = list(newton(f, theta0, direction=direction, max_steps=200, **settings))
    assert records[-1].reason == "converged"
    assert float(gradient(f, records[-1].theta).norm()) <= 1e-8
    return records


def scipys(name, method):
    f, start = PROBLEMS[name]

    def torch_of(x):
        return torch.tensor(x, dtype=torch.float64)

    options = {"xtol": 1e-10} if method == "newton-cg" else {"gtol": 1e-8}
    return minimize(
        lambda x: float(f(torch_of(x))),
        start,
        method=method,
        options={"maxiter": 500, **options},
        jac=lambda x: gradient(f, torch_of(x)).numpy(),
        hess=lambda x: exact_hessian(f, torch_of(x)).numpy(),
    )


def local_minima(name):
    """Values at the ends of a descent; Rosenbrock's function has a second one from dimension 4."""
    return [MINIMA[name], *([3.98657911] if name == "rosenbrock in 10 dimensions" else [])]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("direction", ["cholesky", "saddle-free"])
def test_modified_newton_needs_no_more_than_twice_scipys_iterations(name, direction):
    records = ours(name, direction, line_search=True)
    found = {method: scipys(name, method) for method in ("trust-ncg", "trust-exact", "newton-cg")}
    if name in MINIMA:
        assert min(abs(records[-1].loss - v) for v in local_minima(name)) < 1e-8
    else:
        assert records[-1].loss <= min(r.fun for r in found.values()) + 1e-9
    values = [r.loss for r in records]
    assert all(b <= a + 1e-14 * abs(a) for a, b in pairwise(values))
    assert records[-1].step <= 2 * min(r.nit for r in found.values()), {
        method: r.nit for method, r in found.items()
    }


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - INDEFINITE))
def test_plain_newton_is_as_fast_where_the_hessian_stays_semidefinite(name):
    records = ours(name, "newton")
    assert records[-1].step <= 2 * scipys(name, "trust-exact").nit
    if name in MINIMA:
        assert records[-1].loss == pytest.approx(MINIMA[name], abs=1e-8)


def test_newton_without_a_modification_stops_at_beales_saddle():
    last = ours("beale", "newton")[-1]
    assert last.loss > 14 and float(last.extra["eigenvalues"][0]) < 0


def test_a_quadratic_takes_one_step():
    for direction in ("newton", "cholesky", "saddle-free"):
        assert len(ours("condition 1e4", direction)) == 2
        # and one more that takes back the rounding of the first, 1e6 times eps
        assert len(ours("condition 1e6", direction)) <= 3


def test_powells_singular_hessian_makes_convergence_linear():
    norms = [r.grad_norm for r in ours("powell singular", "newton")]
    assert all(b / a == pytest.approx(8 / 27, rel=1e-3) for a, b in pairwise(norms[5:]))


def test_least_squares_without_full_rank_end_at_the_least_norm_solution():
    X, y = randn(12, 8, seed=3), randn(12, seed=4)
    expected = torch.linalg.pinv(torch.cat([X, X[:, :3]], dim=1)) @ y
    records = ours("rank-deficient least squares", "newton")
    close(records[-1].theta, expected, rtol=1e-9)
    assert records[-1].step == 1


@pytest.mark.parametrize("direction", ["cholesky", "saddle-free"])
def test_a_monkey_saddle_is_left_for_one_of_the_three_minima(direction):
    # y = 0 is a ridge from which the downhill ways to two of the minima branch.
    for angle in (0.3, 1.5, 2.5, 4.0, 5.7):
        start = 0.1 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        last = list(newton(monkey, start, direction=direction, line_search=True))[-1]
        assert last.reason == "converged" and last.loss == pytest.approx(-27 / 256)
        assert float(last.theta.norm()) == pytest.approx(0.75)
        assert math.cos(3 * math.atan2(*last.theta.flip(0).tolist())) == pytest.approx(-1)


def test_damping_alone_leads_past_the_saddle_too():
    assert ours("monkey saddle", "newton", damping=2.0)[-1].loss == pytest.approx(-27 / 256)
