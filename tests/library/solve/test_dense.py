import math

import pytest
import torch
from cases import close, few_cases, randn, seeds, spd
from hypothesis import given
from hypothesis import strategies as st

from rlhf_lib.solve.dense import absolute_value, cholesky_solve, saddle_free_solve, solve_dense


def symmetric(values, seed=0):
    """A matrix with these eigenvalues."""
    q, _ = torch.linalg.qr(randn(len(values), len(values), seed=seed))
    return q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T


@few_cases
@given(seed=seeds, n=st.integers(1, 8))
def test_a_positive_definite_matrix_is_solved_as_it_is_by_all(seed, n):
    A, b = spd(n, seed), randn(n, seed=seed + 1)
    expected = torch.linalg.solve(A, b)
    for solve in (cholesky_solve, saddle_free_solve):
        result = solve(A, b)
        close(result.x, expected, rtol=1e-11)
        assert result.reason == "converged" and result.converged and result.jitter == 0
    x, reason = solve_dense(A, b)
    close(x, expected, rtol=1e-11)
    assert reason == "converged"


def test_dense_solves_an_indefinite_matrix_and_names_a_singular_one():
    b = randn(3)
    A = symmetric([-2.0, 1.0, 5.0])
    x, reason = solve_dense(A, b)
    close(A @ x, b, rtol=1e-12)
    assert reason == "converged"
    A = symmetric([0.0, 1.0, 5.0])
    x, reason = solve_dense(A, b)
    close(x, torch.linalg.pinv(A, hermitian=True, rtol=1e-10) @ b, rtol=1e-10)
    assert reason == "singular"


@few_cases
@given(seed=seeds, n=st.integers(2, 8), lowest=st.floats(-10, -1e-6))
def test_cholesky_adds_the_jitter_that_it_reports_and_descends(seed, n, lowest):
    values = [lowest, *torch.linspace(0.5, 3, n - 1).tolist()]
    A, b = symmetric(values, seed), randn(n, seed=seed + 1)
    result = cholesky_solve(A, b)
    assert result.reason == "not_positive_definite" and not result.converged
    assert result.jitter > -lowest
    # Doubling overshoots by at most a factor of two, beyond the first trial.
    size = float(A.norm()) / math.sqrt(n)
    assert result.jitter <= max(-2 * lowest + 2e-3 * size, 1e-3 * size - float(A.diagonal().min()))
    shifted = A + result.jitter * torch.eye(n, dtype=torch.float64)
    close(shifted @ result.x, b, rtol=1e-6)
    assert float(result.x @ b) > 0


def test_cholesky_doubles_the_jitter_from_its_first_trial():
    # Positive diagonal, eigenvalues 1 +- 4: 0, then beta |A|_F / sqrt(n), doubled until above 3.
    A = torch.tensor([[1.0, 4.0], [4.0, 1.0]], dtype=torch.float64)
    first = 1e-3 * math.sqrt(34 / 2)
    expected = first * 2 ** math.ceil(math.log2(3 / first))
    assert cholesky_solve(A, randn(2)).jitter == pytest.approx(expected)
    # A negative diagonal entry is a bound on the least eigenvalue, and the first trial lies beyond.
    B = torch.diag(torch.tensor([-5.0, 1.0], dtype=torch.float64))
    assert cholesky_solve(B, randn(2)).jitter == pytest.approx(5 + 1e-3 * math.sqrt(13))


def test_a_factor_of_rounding_errors_is_no_success():
    eps = torch.finfo(torch.float64).eps
    A = torch.tensor([[1.0, 1.0], [1.0, 1.0 + eps]], dtype=torch.float64)
    assert int(torch.linalg.cholesky_ex(A).info) == 0  # LAPACK is content with the pivot eps
    result = cholesky_solve(A, randn(2))
    assert result.jitter > 0 and float(result.x.norm()) < 1e4


@few_cases
@given(seed=seeds)
def test_saddle_free_divides_by_the_moduli(seed):
    A, b = symmetric([-3.0, -0.5, 1.0, 4.0], seed), randn(4, seed=seed + 1)
    result = saddle_free_solve(A, b)
    close(absolute_value(A) @ absolute_value(A), A @ A, rtol=1e-12)
    close(absolute_value(A) @ result.x, b, rtol=1e-12)
    assert result.reason == "negative_curvature"
    assert result.jitter == pytest.approx(6.0)  # -3 became 3
    assert float(result.x @ b) > 0


def test_saddle_free_raises_small_moduli_to_the_floor():
    A, b = symmetric([0.0, 0.5, -2.0], 1), randn(3)
    default = saddle_free_solve(A, b)  # the least modulus that is not zero
    close(default.x, torch.linalg.solve(symmetric([0.5, 0.5, 2.0], 1), b), rtol=1e-10)
    assert default.reason == "negative_curvature"
    higher = saddle_free_solve(A, b, floor=1.0)
    close(higher.x, torch.linalg.solve(symmetric([1.0, 1.0, 2.0], 1), b), rtol=1e-10)
    flat = saddle_free_solve(symmetric([0.0, 0.5, 2.0], 1), b)
    assert flat.reason == "singular" and flat.jitter == pytest.approx(0.5)


@pytest.mark.parametrize("solve", [cholesky_solve, saddle_free_solve])
def test_a_zero_matrix_gives_a_multiple_of_the_right_hand_side(solve):
    b = randn(3)
    result = solve(torch.zeros(3, 3, dtype=torch.float64), b)
    assert not result.converged and result.jitter > 0
    close(result.x, b / result.jitter, rtol=1e-14)


@pytest.mark.parametrize("solve", [cholesky_solve, saddle_free_solve])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_named(solve, bad):
    A, b = spd(3), randn(3)
    for broken in ((A.clone().fill_diagonal_(bad), b), (A, torch.full_like(b, bad))):
        result = solve(*broken)
        assert result.reason == "not_finite" and bool(result.x.isnan().all())
