import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from cases import close, few_cases, randn, seeds, spd
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import cg as scipy_cg

from rlhf_lib import CGResult, conjugate_gradient
from rlhf_lib.curvature import Shifted
from rlhf_lib.solve import solve_dense

REASONS = {
    "converged",
    "relative_progress",
    "max_iter",
    "negative_curvature",
    "singular",
    "boundary",
    "stagnation",
    "not_finite",
    "stopped_by_callback",
}


class Counting:
    """A matrix that knows only its products, and counts them."""

    def __init__(self, A):
        self.A, self.products = A, 0

    def __matmul__(self, v):
        assert v.ndim == 1
        self.products += 1
        return self.A @ v


def indefinite(n, negative, seed=0):
    """A symmetric matrix with so many eigenvalues below -1, the rest above 1."""
    q, _ = torch.linalg.qr(randn(n, n, seed=seed))
    values = 1 + randn(n, seed=seed + 1).abs()
    values[:negative] *= -1
    return q @ torch.diag(values) @ q.T


def semidefinite(n, rank, seed=0):
    B = randn(rank, n, seed=seed)
    return B.T @ B


def quadratic(A, b, x):
    return float(0.5 * x @ (A @ x) - b @ x)


@few_cases
@given(seed=seeds, n=st.integers(1, 30), condition=st.floats(1, 1e4))
def test_solution_is_that_of_a_direct_solve(seed, n, condition):
    A, b = spd(n, seed, condition), randn(n, seed=seed + 1)
    found = conjugate_gradient(A, b, rtol=1e-12, max_iter=20 * n)
    assert found.reason == "converged" and found.converged
    close(found.x, torch.linalg.solve(A, b), rtol=1e-11 * condition)
    assert float((b - A @ found.x).norm()) <= 1e-10 * float(b.norm())
    close(found.residual, b - A @ found.x, atol=1e-10 * float(b.norm()))


@few_cases
@given(seed=seeds, distinct=st.integers(1, 6))
def test_as_many_iterations_as_distinct_eigenvalues_are_enough(seed, distinct):
    q, _ = torch.linalg.qr(randn(24, 24, seed=seed))
    values = torch.arange(1.0, distinct + 1, dtype=torch.float64).repeat(24)[:24]
    found = conjugate_gradient(q @ torch.diag(values) @ q.T, randn(24, seed=seed + 1), rtol=1e-9)
    assert found.converged and found.iterations == distinct


@pytest.mark.parametrize("preconditioned", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_iterates_are_those_of_scipy(preconditioned, started):
    A, b = spd(15, condition=30), randn(15, seed=1)
    M = torch.diag(1 / A.diagonal()) if preconditioned else None
    x0 = randn(15, seed=2) if started else None
    ours, theirs = [], []
    conjugate_gradient(
        A,
        b,
        x0=x0,
        preconditioner=M,
        rtol=0,
        max_iter=8,
        callback=lambda i, x: ours.append(x.clone()),
    )
    scipy_cg(
        A.numpy(),
        b.numpy(),
        x0=x0 if x0 is None else x0.numpy(),
        rtol=0,
        atol=0,
        maxiter=8,
        M=M if M is None else M.numpy(),
        callback=lambda x: theirs.append(np.copy(x)),
    )
    assert len(ours) == len(theirs) == 8
    for a, t in zip(ours, theirs, strict=True):
        close(a, t, rtol=1e-9)


def test_the_quadratic_falls_and_the_residual_norms_are_those_of_the_iterates():
    A, b, xs = spd(20, condition=1e4), randn(20, seed=1), []
    found = conjugate_gradient(A, b, rtol=1e-8, callback=lambda i, x: xs.append(x.clone()))
    values = [0.0] + [quadratic(A, b, x) for x in xs]
    assert all(after < before for before, after in pairwise(values))
    norms = [float(b.norm())] + [float((b - A @ x).norm()) for x in xs]
    assert found.residual_norms == pytest.approx(norms, rel=1e-6)
    assert len(found.residual_norms) == found.iterations + 1


def test_stops_at_the_first_residual_below_the_tolerance():
    A, b = spd(20, condition=1e3), randn(20, seed=1)
    for settings in ({"rtol": 1e-2}, {"rtol": 0.0, "atol": 0.05}, {"rtol": 1e-9, "atol": 0.3}):
        found = conjugate_gradient(A, b, max_iter=100, **settings)
        target = max(settings["rtol"] * float(b.norm()), settings.get("atol", 0.0))
        assert found.converged
        assert found.residual_norms[-1] <= target < min(found.residual_norms[:-1])


def test_products_are_counted_and_bounded_by_max_iter():
    A, b = Counting(spd(30, condition=1e4)), randn(30, seed=1)
    found = conjugate_gradient(A, b, max_iter=7)
    assert (found.reason, found.iterations, A.products) == ("max_iter", 7, 7)
    assert not found.converged
    assert conjugate_gradient(A, b, max_iter=0).x.abs().max() == 0


def test_the_exact_start_costs_one_product_and_no_iteration():
    A, b = spd(8), randn(8, seed=1)
    x0 = torch.linalg.solve(A, b)
    counting = Counting(A)
    found = conjugate_gradient(counting, b, x0=x0)
    assert (found.reason, found.iterations, counting.products) == ("converged", 0, 1)
    assert torch.equal(found.x, x0) and found.x is not x0


def test_a_start_is_improved_not_overwritten():
    A, b, x0 = spd(8), randn(8, seed=1), randn(8, seed=2)
    before = x0.clone()
    found = conjugate_gradient(A, b, x0=x0, rtol=1e-12, max_iter=50)
    close(found.x, torch.linalg.solve(A, b), rtol=1e-10)
    assert torch.equal(x0, before)


def test_a_zero_right_hand_side_has_the_zero_solution():
    found = conjugate_gradient(spd(5), torch.zeros(5, dtype=torch.float64))
    assert found.converged and found.iterations == 0 and not found.x.any()


# Preconditioners.


def test_the_inverse_as_preconditioner_needs_one_iteration():
    A, b = spd(12, condition=1e6), randn(12, seed=1)
    found = conjugate_gradient(A, b, preconditioner=torch.linalg.inv(A), rtol=1e-8)
    assert found.converged and found.iterations == 1


def test_a_diagonal_preconditioner_undoes_bad_scaling():
    scale = torch.logspace(-3, 3, 40, dtype=torch.float64)
    A, b = scale[:, None] * spd(40, condition=10) * scale, randn(40, seed=1)
    plain = conjugate_gradient(A, b, rtol=1e-8, max_iter=2000)
    helped = conjugate_gradient(A, b, preconditioner=1 / A.diagonal(), rtol=1e-8, max_iter=2000)
    assert helped.converged and 3 * helped.iterations < plain.iterations


def test_a_preconditioner_may_be_a_vector_a_matrix_or_a_function():
    A, b = spd(10, condition=1e3), randn(10, seed=1)
    m = 1 / A.diagonal()
    forms = (m, torch.diag(m), lambda r: m * r)
    xs = [conjugate_gradient(A, b, preconditioner=form, rtol=0, max_iter=6).x for form in forms]
    close(xs[0], xs[1], rtol=1e-13)
    close(xs[0], xs[2], rtol=1e-13)


def test_a_preconditioner_that_is_not_positive_definite_is_refused_whenever_it_shows():
    A, b = spd(10, condition=100), torch.ones(10, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected a positive definite preconditioner, got"):
        conjugate_gradient(A, b, preconditioner=-b)
    late = b.clone()
    late[7:] = -1.0  # r'Mr is positive at first
    with pytest.raises(ValueError, match="expected a positive definite preconditioner, got"):
        conjugate_gradient(A, b, preconditioner=late, rtol=1e-10, max_iter=100)


# Indefinite and singular systems.


@few_cases
@given(seed=seeds, n=st.integers(2, 25), share=st.floats(0.05, 1))
def test_negative_curvature_is_named_and_shown(seed, n, share):
    A, b = indefinite(n, max(1, round(share * n)), seed), randn(n, seed=seed + 2)
    found = conjugate_gradient(A, b, rtol=1e-10, max_iter=4 * n)
    assert found.reason == "negative_curvature" and not found.converged
    p = found.direction
    assert float(p @ (A @ p)) < 0
    assert quadratic(A, b, found.x) <= 0  # the last iterate is still a descent


def test_an_indefinite_system_at_the_first_step_leaves_the_start():
    b = randn(4)
    found = conjugate_gradient(-torch.eye(4, dtype=torch.float64), b)
    assert (found.reason, found.iterations) == ("negative_curvature", 1)
    assert not found.x.any() and torch.equal(found.direction, b)


def test_no_direction_is_given_where_none_was_met():
    assert conjugate_gradient(spd(4), randn(4)).direction is None


@few_cases
@given(seed=seeds, n=st.integers(2, 25))
def test_a_singular_consistent_system_is_solved_with_least_norm(seed, n):
    A = semidefinite(n, max(1, n // 2), seed)
    b = A @ randn(n, seed=seed + 1)
    found = conjugate_gradient(A, b, rtol=1e-8, max_iter=10 * n)
    assert found.converged
    assert float((A @ found.x - b).norm()) <= 1e-7 * float(b.norm())
    close(found.x, torch.linalg.pinv(A, hermitian=True) @ b, rtol=1e-2)


@few_cases
@given(seed=seeds, n=st.integers(3, 25))
def test_a_singular_inconsistent_system_is_named_with_its_null_direction(seed, n):
    A, b = semidefinite(n, max(1, n // 3), seed), randn(n, seed=seed + 1)
    found = conjugate_gradient(A, b, rtol=1e-10, max_iter=10 * n)
    assert found.reason == "singular" and not found.converged
    p = found.direction
    size = float(torch.linalg.matrix_norm(A, 2))
    assert float((A @ p).norm()) <= 1e-6 * size * float(p.norm())
    assert abs(float(b @ p)) > 1e-8 * float(b.norm() * p.norm())


def test_the_zero_matrix_is_singular():
    found = conjugate_gradient(torch.zeros(3, 3, dtype=torch.float64), randn(3))
    assert (found.reason, found.iterations) == ("singular", 1)


def test_ill_conditioned_but_definite_systems_are_not_called_singular():
    values = torch.logspace(0, 11, 8, dtype=torch.float64)
    found = conjugate_gradient(torch.diag(values), values.sqrt(), rtol=1e-10, max_iter=1000)
    assert found.converged
    close(found.x * values.sqrt(), torch.ones_like(values), rtol=1e-4)


def test_products_that_are_not_finite_are_named():
    class Broken:
        def __matmul__(self, v):
            return torch.where(torch.arange(len(v)) == 1, math.nan, v)

    found = conjugate_gradient(Broken(), randn(3))
    assert (found.reason, found.iterations) == ("not_finite", 1)
    assert bool(found.x.isfinite().all())


def test_stagnation_is_named_instead_of_running_on():
    # p'Ap > 0 for all p, but A is not symmetric: the residual need not fall.
    B = randn(6, 6)
    A = torch.eye(6, dtype=torch.float64) + 3 * (B - B.T)
    found = conjugate_gradient(A, randn(6, seed=1), max_iter=100_000)
    assert found.reason == "stagnation"
    assert found.iterations < 1000 and min(found.residual_norms) > 1e-6


@pytest.mark.parametrize("scale", [1e-100, 1e-170, 1e-300])
def test_residuals_whose_square_underflows_end_with_a_reason(scale):
    A, b = spd(6), scale * randn(6, seed=1)
    found = conjugate_gradient(A, b, rtol=0, max_iter=1000)
    assert found.reason in ("converged", "stagnation")
    if scale > 1e-150:
        close(found.x / scale, torch.linalg.solve(A, b / scale))


def test_other_types_are_named():
    with pytest.raises(ValueError, match=r"one type, got torch.float32 and torch.float64"):
        conjugate_gradient(spd(3).float(), randn(3))
    with pytest.raises(ValueError, match=r"floating point type, got torch.int64"):
        conjugate_gradient(spd(3), torch.ones(3, dtype=torch.int64))


SCALED = [
    ({}, {"b": 1}, 1),
    ({}, {"A": 1}, -1),
    ({"x0": torch.ones(6)}, {"b": 1, "x0": 1}, 1),
    ({"atol": 1e-3}, {"b": 1, "atol": 1}, 1),
    ({"preconditioner": torch.arange(1.0, 7.0)}, {"preconditioner": 1}, 0),
    ({"radius": 0.1}, {"b": 1, "radius": 1}, 1),
    ({"radius": 0.1}, {"A": 1, "radius": -1}, -1),
    ({"radius": 0.1, "preconditioner": torch.arange(1.0, 7.0)}, {"b": 1, "radius": 1}, 1),
    (
        {"radius": 0.1, "preconditioner": torch.arange(1.0, 7.0)},
        {"preconditioner": 1, "radius": -0.5},
        0,
    ),
]


@pytest.mark.parametrize("dtype, power", [(torch.float32, 90), (torch.float64, 700)])
@pytest.mark.parametrize("settings, scaled, answer", SCALED)
def test_powers_of_two_change_no_bit_of_the_solution(settings, scaled, answer, dtype, power):
    given = {"A": spd(6), "b": randn(6, seed=1), **settings}
    given = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    plain = conjugate_gradient(**given)
    for sign in (1, -1):

        def times(value, exponent, power=sign * power):
            half = 2.0 ** (power * exponent / 2)
            return value * half * half

        found = conjugate_gradient(
            **{key: times(value, scaled.get(key, 0)) for key, value in given.items()}
        )
        assert torch.equal(found.x, times(plain.x, answer)) and bool(plain.x.any())
        assert (found.reason, found.iterations) == (plain.reason, plain.iterations)


@few_cases
@given(seed=seeds, n=st.integers(1, 12), kind=st.integers(0, 3))
def test_the_reason_is_always_one_of_those_documented(seed, n, kind):
    A = [
        spd(n, seed),
        indefinite(n, n // 2, seed),
        semidefinite(n, n // 2, seed),
        randn(n, n, seed=seed),
    ][kind]
    found = conjugate_gradient(A, randn(n, seed=seed + 1), rtol=0, max_iter=5 * n + 100)
    assert isinstance(found, CGResult) and found.reason in REASONS
    assert bool(found.x.isfinite().all())


# Trust region.


def trust_region_model(A, b, radius):
    """Least value of the model inside the radius, from the eigenvalues (More and Sorensen)."""
    values, vectors = torch.linalg.eigh(A)
    c = vectors.T @ b
    low, high = max(0.0, -float(values[0])) + 1e-14, 1e8
    if float(values[0]) > 0 and float((c / values).norm()) <= radius:
        return quadratic(A, b, vectors @ (c / values))
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (
            (middle, high) if float((c / (values + middle)).norm()) > radius else (low, middle)
        )
    return quadratic(A, b, vectors @ (c / (values + high)))


@few_cases
@given(seed=seeds, n=st.integers(2, 20), radius=st.floats(0.01, 0.5))
def test_the_boundary_is_met_exactly_and_gives_at_least_the_cauchy_decrease(seed, n, radius):
    A, b = spd(n, seed, 50.0) / 50, randn(n, seed=seed + 1)
    b = 2 * b / b.norm()  # |A^-1 b| >= 2: the solution lies outside
    found = conjugate_gradient(A, b, radius=radius, rtol=1e-10)
    assert found.reason == "boundary"
    assert float(found.x.norm()) == pytest.approx(radius, rel=1e-12)
    close(found.residual, b - A @ found.x, atol=1e-12)
    curvature = float(b @ A @ b) / float(b @ b)
    cauchy = min(radius / float(b.norm()), 1 / curvature) * b
    assert quadratic(A, b, found.x) <= quadratic(A, b, cauchy) + 1e-14
    # Steihaug's point gives at least half of the best decrease (Yuan, 2000).
    assert quadratic(A, b, found.x) <= 0.5 * trust_region_model(A, b, radius) + 1e-14


@few_cases
@given(seed=seeds, n=st.integers(2, 20))
def test_a_wide_radius_changes_nothing(seed, n):
    A, b = spd(n, seed), randn(n, seed=seed + 1)
    free = conjugate_gradient(A, b, rtol=1e-10, max_iter=5 * n)
    inside = conjugate_gradient(A, b, rtol=1e-10, max_iter=5 * n, radius=2 * float(free.x.norm()))
    assert inside.reason == "converged" and torch.equal(inside.x, free.x)


@few_cases
@given(seed=seeds, n=st.integers(2, 20))
def test_negative_curvature_is_followed_to_the_boundary(seed, n):
    A, b = indefinite(n, max(1, n // 2), seed), randn(n, seed=seed + 2)
    found = conjugate_gradient(A, b, radius=10.0, rtol=1e-10, max_iter=4 * n)
    assert found.reason in ("negative_curvature", "boundary")
    assert float(found.x.norm()) == pytest.approx(10.0, rel=1e-12)
    inner = conjugate_gradient(A, b, rtol=1e-10, max_iter=4 * n)
    if found.reason == "negative_curvature":
        assert quadratic(A, b, found.x) < quadratic(A, b, inner.x)
    close(found.residual, b - A @ found.x, atol=1e-11)


@few_cases
@given(seed=seeds, share=st.floats(0.05, 0.95))
def test_the_radius_is_in_the_norm_of_the_preconditioners_inverse(seed, share):
    A, b = spd(10, seed, condition=100), randn(10, seed=seed + 1)
    m = 1 / A.diagonal()

    def norm(x):
        return math.sqrt(float(x @ (x / m)))

    radius = share * norm(torch.linalg.solve(A, b))
    found = conjugate_gradient(A, b, preconditioner=m, radius=radius, rtol=1e-12)
    assert found.reason == "boundary"
    assert norm(found.x) == pytest.approx(radius, rel=1e-9)


def test_the_radius_counts_from_zero_when_there_is_a_start():
    A, b = spd(6), 100 * randn(6, seed=1)
    x0 = 0.1 * randn(6, seed=2)
    found = conjugate_gradient(A, b, x0=x0, radius=1.0)
    assert found.reason == "boundary" and float(found.x.norm()) == pytest.approx(1.0, rel=1e-12)


# Martens' test, callbacks, arguments.


def test_relative_progress_stops_where_martens_says():
    A, b, xs = spd(60, condition=1e6), randn(60, seed=1), []
    found = conjugate_gradient(
        A,
        b,
        rtol=1e-12,
        max_iter=1000,
        progress_tol=5e-4,
        callback=lambda i, x: xs.append(x.clone()),
    )
    q = [0.0] + [quadratic(A, b, x) for x in xs]
    stops = [
        i
        for i in range(1, len(q))
        if (k := max(10, i // 10)) < i and q[i] < 0 and (q[i] - q[i - k]) / q[i] < k * 5e-4
    ]
    assert found.reason == "relative_progress"
    assert stops == [found.iterations]
    assert found.iterations < conjugate_gradient(A, b, rtol=1e-12, max_iter=1000).iterations


def test_a_callback_sees_every_iterate_and_may_stop():
    seen = []
    found = conjugate_gradient(
        spd(20), randn(20), rtol=1e-12, callback=lambda i, x: seen.append((i, x)) or i == 3
    )
    assert found.reason == "stopped_by_callback" and found.iterations == 3
    assert [i for i, _ in seen] == [1, 2, 3] and seen[-1][1] is found.x


def test_float32_keeps_its_type_and_meets_what_it_can():
    A, b = spd(20).float(), randn(20, seed=1).float()
    found = conjugate_gradient(A, b, rtol=1e-5, max_iter=100)
    assert found.converged and found.x.dtype == torch.float32
    close(found.x.double(), torch.linalg.solve(A.double(), b.double()), rtol=1e-3)


def test_no_graph_is_built():
    A = spd(4).requires_grad_(True)
    assert not conjugate_gradient(A, randn(4)).x.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"b": randn(3, 3)}, r"b of shape \(n,\), got \(3, 3\)"),
        ({"b": randn(4)}, r"A of shape \(4, 4\), got \(3, 3\)"),
        (
            {"b": torch.tensor([1.0, math.nan, 0.0])},
            "expected a finite b, got NaN or infinite entries",
        ),
        ({"rtol": -1.0}, "rtol: expected a finite number >= 0"),
        ({"max_iter": -1}, "max_iter: expected at least 0"),
        ({"radius": 0.0}, "radius > 0"),
        ({"radius": math.nan}, "radius > 0"),
        ({"radius": 1.0, "x0": 10 * torch.ones(3).double()}, r"expected \|x0\| <= radius"),
        (
            {"radius": 9.0, "x0": torch.ones(3).double(), "preconditioner": torch.ones(3).double()},
            "drop x0",
        ),
        ({"rtol": math.nan}, "rtol: expected a finite number"),
        ({"x0": randn(4)}, r"expected x0 of shape \(3,\), got \(4,\)"),
        ({"preconditioner": randn(4)}, r"expected preconditioner of shape \(3,\), got \(4,\)"),
    ],
)
def test_bad_arguments_are_refused_before_a_product_is_spent(arguments, message):
    class Counted:
        shape, products = (3, 3), 0

        def __matmul__(self, v):
            self.products += 1
            return v

    A = Counted()
    with pytest.raises(ValueError, match=message):
        conjugate_gradient(**{"A": A, "b": randn(3), **arguments})
    assert A.products == 0


# The shifted operator and the direct solve.


def test_shifted_is_the_matrix_plus_a_diagonal_on_the_free_coordinates():
    A, shift = spd(5), torch.arange(1.0, 6, dtype=torch.float64)
    eye = torch.eye(5, dtype=torch.float64)
    close(torch.stack([Shifted(A, shift) @ e for e in eye]), A + torch.diag(shift))
    close(torch.stack([Shifted(A, 0.5) @ e for e in eye]), A + 0.5 * eye)
    free = torch.tensor([True, False, True, True, False])
    expected = torch.where(free[:, None] & free, A + torch.diag(shift), eye)
    close(torch.stack([Shifted(A, shift, free) @ e for e in eye]), expected)


@few_cases
@given(seed=seeds, n=st.integers(1, 12))
def test_dense_solve_is_a_direct_solve_definite_or_not(seed, n):
    for A in (spd(n, seed), indefinite(n, n // 2, seed)):
        b = randn(n, seed=seed + 1)
        x, reason = solve_dense(A, b)
        assert reason == "converged"
        close(x, torch.linalg.solve(A, b), rtol=1e-10)


@few_cases
@given(seed=seeds, n=st.integers(2, 12))
def test_dense_solve_names_singular_and_gives_the_least_norm_solution(seed, n):
    A, b = semidefinite(n, n // 2, seed), randn(n, seed=seed + 1)
    x, reason = solve_dense(A, b)
    assert reason == "singular"
    close(x, torch.linalg.pinv(A, hermitian=True) @ b, rtol=1e-7)


def test_dense_solve_of_the_zero_matrix_is_zero():
    x, reason = solve_dense(torch.zeros(2, 2), torch.ones(2))
    assert reason == "singular" and not x.any()


# What the recurrence does not know.


def test_a_recurrence_that_has_left_the_residual_is_not_called_converged():
    A, b = spd(30, condition=1e8), randn(30, seed=1)
    found = conjugate_gradient(A, b, rtol=1e-10, max_iter=20000)
    true = float((b - A @ found.x).norm())
    assert found.reason == "stagnation" and not found.converged
    assert found.iterations < 2 * 30 + 300  # the recurrence got there, and so stopped
    assert true > 1e-9 * float(b.norm())
    assert found.residual_norms[-1] == pytest.approx(true, rel=1e-6)
    close(found.residual, b - A @ found.x, rtol=1e-6)


@few_cases
@given(seed=seeds, power=st.integers(2, 14))
def test_converged_is_true_of_the_residual_itself_at_any_condition(seed, power):
    A, b = spd(30, seed, condition=10.0**power), randn(30, seed=seed + 1)
    found = conjugate_gradient(A, b, rtol=1e-10, max_iter=20000)
    true = float((b - A @ found.x).norm())
    if found.converged:
        assert true <= 1.2e-10 * float(b.norm())
    else:
        assert found.reason in ("stagnation", "singular", "negative_curvature", "max_iter")


def test_the_check_costs_one_product_where_it_is_needed_and_none_elsewhere():
    for condition, rtol, extra in ((10, 1e-8, 0), (1e5, 1e-10, 1)):
        A = Counting(spd(30, condition=condition))
        found = conjugate_gradient(A, randn(30, seed=1), rtol=rtol, max_iter=20000)
        assert A.products == found.iterations + extra


@few_cases
@given(seed=seeds, n=st.integers(1, 20), started=st.booleans())
def test_values_are_those_of_the_quadratic_at_each_iterate(seed, n, started):
    A, b, xs = spd(n, seed), randn(n, seed=seed + 1), []
    x0 = randn(n, seed=seed + 2) if started else torch.zeros(n, dtype=torch.float64)
    found = conjugate_gradient(A, b, x0=x0, rtol=1e-8, callback=lambda i, x: xs.append(x.clone()))
    expected = [quadratic(A, b, x) for x in (x0, *xs)]
    assert found.values == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert len(found.values) == len(found.residual_norms)


@pytest.mark.parametrize("radius", [None, 3.0])
def test_values_follow_to_the_boundary_and_stop_at_negative_curvature(radius):
    A, b = indefinite(12, 4), randn(12, seed=2)
    found = conjugate_gradient(A, b, rtol=1e-10, max_iter=48, radius=radius)
    assert found.reason in ("negative_curvature", "boundary")
    assert found.values[-1] == pytest.approx(quadratic(A, b, found.x), rel=1e-9)


class Bare:
    """An operator with its product and nothing else."""

    def __init__(self, A):
        self.A, self.shape = A, A.shape

    def __matmul__(self, v):
        return self.A @ v


class KnowsOut:
    """An operator that writes where it is told, over whatever was there."""

    def __init__(self, A):
        self.A, self.shape = A, A.shape

    def __matmul__(self, v):
        return self.matvec(v)

    def matvec(self, v, out=None):
        out = torch.empty_like(v) if out is None else out
        out.fill_(float("nan"))
        return out.copy_(self.A @ v)


def test_operators_that_write_in_place_are_solved_as_others():
    A, b = spd(15, condition=1e3), randn(15, seed=1)
    free = randn(15, seed=3) > 0
    for mask in (None, free):
        right = b if mask is None else b * mask
        plain = conjugate_gradient(Shifted(Bare(A), 0.3, mask), right, rtol=1e-12)
        placed = conjugate_gradient(Shifted(KnowsOut(A), 0.3, mask), right, rtol=1e-12)
        close(placed.x, plain.x, rtol=1e-12)


def test_shifted_writes_into_what_it_is_given_and_leaves_the_vector():
    A, v, shift = spd(6), randn(6, seed=1), torch.arange(1.0, 7, dtype=torch.float64)
    free = torch.tensor([True, False, True, True, False, True])
    for inner in (A, KnowsOut(A), Bare(A)):
        for D in (0.5, shift):
            for mask in (None, free):
                out = torch.full((6,), float("nan"), dtype=torch.float64)
                before = v.clone()
                found = Shifted(inner, D, mask).matvec(v, out)
                assert found is out and torch.equal(v, before)
                dense = A + torch.diag(D * torch.ones(6, dtype=torch.float64))
                if mask is not None:
                    dense = torch.where(mask[:, None] & mask, dense, torch.eye(6).double())
                close(found, dense @ v, rtol=1e-13)


def test_a_product_that_an_operator_keeps_is_not_written_over():
    kept = randn(5)

    class Keeps:
        shape = (5, 5)

        def __matmul__(self, v):
            return kept

    before = kept.clone()
    Shifted(Keeps(), 0.5) @ torch.ones(5, dtype=torch.float64)
    assert torch.equal(kept, before)
