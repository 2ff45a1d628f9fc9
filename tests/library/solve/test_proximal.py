import math

import pytest
import torch
from cases import close, few_cases, randn, seeds, spd
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from rlhf_lib import conjugate_gradient
from rlhf_lib.curvature import Shifted
from rlhf_lib.regularizers import (
    L1,
    L2,
    Box,
    ElasticNet,
    GroupLasso,
    NonNegative,
    PseudoHuber,
    SparseGroupLasso,
)
from rlhf_lib.solve import forcing_term, proximal_solve

N = 12
CENTER = 0.5 * randn(N, seed=9)
PENALTIES = {
    "l1": lambda: L1(weight=0.5),
    "l1 around a centre": lambda: L1(weight=0.5, center=CENTER),
    "elastic-net": lambda: ElasticNet(weight=0.5, l1_ratio=0.7),
    "group-lasso": lambda: GroupLasso(groups=torch.arange(N) // 3, weight=0.4),
    "group-lasso around a centre": lambda: GroupLasso(
        groups=torch.arange(N) // 3, weight=0.4, center=CENTER
    ),
    "sparse-group-lasso": lambda: SparseGroupLasso(groups=torch.arange(N) // 3, weight=0.4),
    "non-negative": NonNegative,
    "box": lambda: Box(lower=-0.1, upper=CENTER.abs()),
    "l2": lambda: L2(weight=0.5),
    "pseudo-huber": lambda: PseudoHuber(weight=0.5, delta=0.1),
    "none": lambda: L1(weight=0.0),
    "intercept": lambda: L1(weight=0.5 * (torch.arange(N) > 0)),
}
every_penalty = pytest.mark.parametrize("kind", PENALTIES)


class Counting:
    """A matrix that knows only its products with vectors, and counts them."""

    def __init__(self, A):
        self.A, self.shape, self.products = A, A.shape, 0

    def __matmul__(self, v):
        assert v.shape == (len(self.A),)
        self.products += 1
        return self.A @ v


def model(A, g, penalty, theta):
    def m(d):
        kinked = penalty.value(theta + d) - penalty.value(theta)
        return float(g @ d + 0.5 * d @ A @ d + kinked)

    return m


def by_proximal_gradient(A, g, penalty, theta, steps=20_000):
    """The plain method (ISTA) until it moves no more: slow, and right by its fixed point."""
    L, z = float(torch.linalg.eigvalsh(A)[-1]), theta.clone()
    for _ in range(steps):
        new = penalty.prox(z - (g + A @ (z - theta)) / L, 1 / L)
        if float((new - z).abs().max()) < 1e-15:
            break
        z = new
    return z


@every_penalty
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_minimum_is_that_of_plain_proximal_gradients(kind, seed):
    penalty, A, g = PENALTIES[kind](), spd(N, seed, 30.0), 2 * randn(N, seed=seed + 1)
    theta = randn(N, seed=seed + 2) * (randn(N, seed=seed + 3) > 0)
    theta = penalty.prox(theta, 0.0)  # inside, where there are bounds
    result = proximal_solve(A, g, penalty, theta, rtol=1e-11)
    expected = by_proximal_gradient(A, g, penalty, theta)
    assert result.converged and result.reason == "converged"
    close(result.point, expected, rtol=1e-9)
    if not penalty.smooth:
        assert torch.equal(penalty.at_kink(result.point), penalty.at_kink(expected))


@every_penalty
def test_what_the_result_reports_is_so(kind):
    penalty, A, g = PENALTIES[kind](), Counting(spd(N)), 2 * randn(N)
    theta = penalty.prox(randn(N, seed=2), 0.0)  # inside, where there are bounds
    result = proximal_solve(A, g, penalty, theta, rtol=1e-8)
    d, m = result.direction, model(A.A, g, penalty, theta)
    assert result.iterations == A.products
    close(result.product, A.A @ d, rtol=1e-12)
    close(result.point, theta + d, rtol=1e-15)
    assert result.predicted == pytest.approx(-m(d), rel=1e-12)
    kinked = float(penalty.value(theta + d) - penalty.value(theta))
    assert result.decrement == pytest.approx(float(g @ d) + kinked, rel=1e-12)
    assert result.decrement < -0.5 * float(d @ A.A @ d) < 0  # m(d) < 0
    residual = penalty.subgradient(g + A.A @ d, result.point).norm()
    assert result.residual_norms[0] == pytest.approx(float(penalty.subgradient(g, theta).norm()))
    assert float(residual) <= 1.01e-8 * result.residual_norms[0]
    assert result.lipschitz <= float(torch.linalg.eigvalsh(A.A)[-1]) * (1 + 1e-12)


@few_cases
@given(seed=seeds, n=st.integers(1, 8), condition=st.floats(1, 1e4), weight=st.floats(1e-3, 3))
def test_no_point_nearby_is_lower(seed, n, condition, weight):
    A, g, theta = spd(n, seed, condition), randn(n, seed=seed + 1), randn(n, seed=seed + 2)
    for penalty in (L1(weight=weight), GroupLasso(groups=torch.arange(n) // 2, weight=weight)):
        result = proximal_solve(A, g, penalty, theta, rtol=1e-10)
        assert result.converged
        m = model(A, g, penalty, theta)
        for k in range(6):
            other = result.direction + 1e-3 * randn(n, seed=seed + k)
            assert m(other) >= m(result.direction)


def test_l1_agrees_with_the_smooth_problem_of_positive_and_negative_parts():
    A, g, theta = spd(8, 3), 3 * randn(8, seed=4), randn(8, seed=5)
    result = proximal_solve(A, g, L1(weight=0.6), theta, rtol=1e-12)

    def split(x):  # z = x[:8] - x[8:], both parts >= 0
        d = torch.tensor(x[:8] - x[8:]) - theta
        slope = (g + A @ d).numpy()
        value = float(g @ d + 0.5 * d @ A @ d) + 0.6 * x.sum()
        return value, [*(slope + 0.6), *(0.6 - slope)]

    found = minimize(
        split,
        [1.0] * 16,
        jac=True,
        bounds=[(0, None)] * 16,
        options={"ftol": 1e-16, "gtol": 1e-12, "maxiter": 10_000},
    )
    close(result.point, found.x[:8] - found.x[8:], rtol=1e-6)
    assert int((result.point == 0).sum()) > 0


def test_without_a_kink_it_is_conjugate_gradients():
    A, g = spd(30, 1, 1e3), randn(30)
    result = proximal_solve(A, g, L2(weight=0.1), torch.zeros(30).double(), rtol=1e-10)
    expected = -torch.linalg.solve(A + 0.1 * torch.eye(30).double(), g)
    close(result.direction, expected, rtol=1e-8)
    alone = conjugate_gradient(Shifted(A, 0.1), -g, rtol=1e-10, max_iter=100)
    assert alone.converged and result.iterations <= alone.iterations + 5


def test_it_takes_fewer_products_than_the_accelerated_proximal_gradient_method():
    A, g, zero = spd(100, 3, 1e4) / 1e4, randn(100, seed=5), torch.zeros(100).double()
    for penalty in (L1(weight=0.05), GroupLasso(groups=torch.arange(100) // 5, weight=0.02)):
        ours = proximal_solve(A, g, penalty, zero, rtol=1e-6, max_iter=5000)
        assert ours.converged and ours.iterations < accelerated(A, g, penalty, 1e-6)


def test_projecting_on_the_kink_saves_products_where_the_model_is_flat():
    X, y = randn(15, 40), randn(15, seed=1000)
    result = proximal_solve(
        X.T @ X / 15,
        -X.T @ y / 15,
        L1(weight=1e-3),
        torch.zeros(40).double(),
        rtol=1e-8,
        max_iter=5000,
    )
    assert result.converged and result.iterations < 700  # 1100 without it, FISTA 1700


def accelerated(A, g, penalty, rtol):
    """Products that FISTA with O'Donoghue and Candes' restart needs, given the best step."""
    z = y = torch.zeros_like(g)
    L, t, first = float(torch.linalg.eigvalsh(A)[-1]), 1.0, float(penalty.subgradient(g, z).norm())
    for products in range(1, 10_000):
        new = penalty.prox(y - (g + A @ y) / L, 1 / L)
        if float(penalty.subgradient(g + A @ new, new).norm()) <= rtol * first:
            return products
        if float((y - new) @ (new - z)) > 0:
            t = 1.0
        ahead = (1 + math.sqrt(1 + 4 * t * t)) / 2
        y, z, t = new + (t - 1) / ahead * (new - z), new, ahead
    return math.inf


def test_an_operator_that_is_shifted_will_do():
    A, g, theta = spd(N), randn(N), randn(N, seed=1)
    shifted = proximal_solve(Shifted(Counting(A), 0.3), g, L1(weight=0.2), theta)
    dense = proximal_solve(A + 0.3 * torch.eye(N).double(), g, L1(weight=0.2), theta)
    close(shifted.direction, dense.direction, rtol=1e-10)


def test_at_the_minimum_no_product_is_spent():
    A, b = spd(N), 2 * randn(N)
    solution = proximal_solve(A, -b, L1(weight=0.5), torch.zeros(N).double(), rtol=1e-13).point
    again = proximal_solve(A, A @ solution - b, L1(weight=0.5), solution, atol=1e-9)
    assert again.converged and again.iterations == 0 and not again.direction.any()
    assert again.predicted == again.decrement == 0


@pytest.mark.parametrize("limit", [2, 3, 5, 9])
def test_running_out_of_products_is_named_and_what_was_found_descends(limit):
    A = Counting(spd(40, 2, 1e6))
    result = proximal_solve(A, randn(40), L1(weight=0.01), randn(40, seed=1), max_iter=limit)
    assert result.reason == "max_iter" and not result.converged
    assert result.iterations == A.products == limit
    assert result.predicted > 0 and result.decrement < 0


def test_a_guess_of_the_largest_eigenvalue_saves_a_product():
    A, g, theta = spd(N), randn(N), randn(N, seed=1)
    even = 2 * torch.eye(N, dtype=torch.float64)  # one prox step is enough
    first = proximal_solve(even, g, L1(weight=0.2), theta)
    again = proximal_solve(even, g, L1(weight=0.2), theta, lipschitz=first.lipschitz)
    assert first.iterations == 2 and again.iterations == 1 and first.lipschitz == 2
    too_small = proximal_solve(A, g, L1(weight=0.2), theta, rtol=1e-9, lipschitz=1e-6)
    assert too_small.converged  # backtracking finds a better one


def negative(n, seed):
    q, _ = torch.linalg.qr(randn(n, n, seed=seed))
    values = 1 + randn(n, seed=seed + 1).abs()
    values[: max(1, n // 3)] *= -1
    return q @ torch.diag(values) @ q.T


@few_cases
@given(seed=seeds, n=st.integers(2, 10), scale=st.floats(0.01, 100))
def test_negative_curvature_is_named_and_the_step_descends(seed, n, scale):
    A, g, theta = negative(n, seed), scale * randn(n, seed=seed + 2), randn(n, seed=seed + 3)
    for penalty in (L1(weight=0.01), GroupLasso(groups=torch.arange(n) // 2, weight=0.01)):
        result = proximal_solve(A, g, penalty, theta, rtol=1e-8)
        assert result.decrement < 0
        m, d = model(A, g, penalty, theta), result.direction
        assert m(1e-4 * d) < 0  # downhill to first order
        if result.reason != "converged":
            assert result.reason == "negative_curvature"


def test_where_the_model_falls_along_an_ascent_the_prox_step_is_taken_instead():
    A, g, theta = negative(2, 28), 0.1 * randn(2, seed=30), randn(2, seed=31)
    penalty = L1(weight=0.5)
    result = proximal_solve(A, g, penalty, theta)
    assert result.reason == "negative_curvature" and result.iterations > 2
    first = proximal_solve(A, g, penalty, theta, max_iter=2)
    assert torch.equal(result.direction, first.direction) and result.decrement < 0
    close(result.product, A @ result.direction, rtol=1e-14)


def test_a_concave_model_is_left_after_the_prox_step():
    n = 4
    A, g = -torch.eye(n).double(), randn(n)
    result = proximal_solve(A, g, L1(weight=0.1), torch.zeros(n).double())
    assert result.reason == "negative_curvature" and result.iterations <= 2
    assert result.decrement < 0 < result.predicted


def test_a_rank_deficient_model_is_minimized_where_the_penalty_bounds_it():
    X = randn(5, 20)
    A, g, zero = X.T @ X, X.T @ randn(5, seed=1), torch.zeros(20).double()
    result = proximal_solve(A, g, L1(weight=0.01), zero, rtol=1e-9)
    assert result.converged and int((result.point != 0).sum()) <= 5
    residual = L1(weight=0.01).subgradient(g + A @ result.point, result.point)
    assert float(residual.abs().max()) < 1e-7


def test_a_model_without_a_minimum_is_named():
    A = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    g = torch.tensor([0.3, 1.0], dtype=torch.float64)
    result = proximal_solve(A, g, L1(weight=torch.tensor([0.5, 0.0])), torch.zeros(2).double())
    assert result.reason == "singular" and result.decrement < 0
    held = proximal_solve(A, g, L1(weight=1.5), torch.ones(2).double())
    assert held.converged and held.point.tolist() == [0, 0]


def test_products_that_are_not_finite_are_named():
    A = spd(N)
    A[3, 3] = math.nan
    result = proximal_solve(A, randn(N), L1(weight=0.1), randn(N, seed=1))
    assert result.reason == "not_finite" and bool(result.direction.isfinite().all())


def test_the_limit_of_the_precision_is_named():
    A, g, penalty = spd(30, 1, 1e6), randn(30), L1(weight=0.01)
    result = proximal_solve(A, g, penalty, torch.zeros(30).double(), rtol=0.0, max_iter=20_000)
    assert result.reason == "stagnation" and result.iterations < 20_000
    residual = penalty.subgradient(g + A @ result.direction, result.point)
    assert float(residual.norm()) < 1e-8  # |A| eps = 2e-10


def test_single_precision_will_do():
    A, g = spd(N).float(), randn(N).float()
    result = proximal_solve(A, g, L1(weight=0.2), torch.zeros(N), rtol=1e-4)
    double = proximal_solve(A.double(), g.double(), L1(weight=0.2), torch.zeros(N).double())
    assert result.converged and result.direction.dtype == torch.float32
    close(result.direction, double.direction.float(), rtol=1e-3)


@pytest.mark.parametrize("dtype, power", [(torch.float32, 60), (torch.float64, 480)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "penalty",
    [
        lambda theta, slope: L1(weight=0.5 * slope),
        lambda theta, slope: GroupLasso(groups=torch.arange(N) // 3, weight=0.4 * slope),
        lambda theta, slope: PseudoHuber(weight=0.5 * slope, delta=0.1 * theta),
    ],
)
def test_powers_of_two_change_no_bit_of_the_point(penalty, sign, dtype, power):
    A, g, theta = spd(N).to(dtype), 3 * randn(N).to(dtype), randn(N, seed=2).to(dtype)
    s = 2.0 ** (sign * power)
    plain = proximal_solve(A, g, penalty(1.0, 1.0), theta)
    right = proximal_solve(A, g * s, penalty(s, s), theta * s)
    assert torch.equal(right.point, plain.point * s) and right.reason == plain.reason
    curved = proximal_solve(A * s, g * s, penalty(1.0, s), theta)
    assert torch.equal(curved.point, plain.point) and curved.iterations == plain.iterations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"theta": torch.zeros(3)}, r"gradient of shape \(3,\), got \(12,\)"),
        ({"rtol": -1.0}, "rtol: expected a finite number >= 0, got -1.0"),
        ({"max_iter": 1}, "max_iter: expected at least 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    given = {"A": spd(N), "gradient": randn(N), "penalty": L1(), "theta": randn(N), **arguments}
    with pytest.raises(ValueError, match=message):
        proximal_solve(**given)


def test_the_forcing_term_falls_with_the_residual():
    assert forcing_term(1.0, 1.0) == 0.1
    assert forcing_term(1e-6, 1.0) == pytest.approx(1e-3)
    assert forcing_term(1e-6, 1e2) == pytest.approx(1e-4)
    assert forcing_term(0.0, 0.0) == 0.1 and forcing_term(1.0, 1.0, most=0.5) == 0.5
