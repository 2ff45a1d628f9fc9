"""Traces, log-determinants and SciPy's operators, against the dense matrix."""

import math

import numpy as np
import pytest
import torch
from cases import close, cross_entropy_closure, mlp, randn, spd
from scipy.sparse import linalg

from rlhf_lib import GaussNewtonOperator, lanczos
from rlhf_lib.curvature import Shifted, log_determinant, to_scipy, trace, trace_of


def generator():
    return torch.Generator().manual_seed(0)


def test_ritz_vectors_are_eigenvectors_where_all_steps_are_made():
    A = spd(7)
    found = lanczos(A, 7, start=randn(7))
    V = found.ritz_vectors
    close(A @ V, V * found.ritz_values, rtol=1e-10)
    close(V.T @ V, torch.eye(7).double(), rtol=1e-10)
    few = lanczos(A, 3, start=randn(7))
    left = (A @ few.ritz_vectors - few.ritz_vectors * few.ritz_values).norm(dim=0)
    close(left, few.bounds, rtol=1e-8)


@pytest.mark.parametrize(
    ("estimate", "exact"),
    [
        (lambda A, g: trace(A, 60, generator=g), torch.trace),
        (lambda A, g: trace_of(torch.sqrt, A, 25, 10, generator=g), None),
        (lambda A, g: log_determinant(A, 25, 10, generator=g), torch.logdet),
    ],
)
def test_estimates_are_within_their_standard_errors_of_the_dense_matrix(estimate, exact):
    shares, random = [], generator()
    for seed in range(6):
        A = spd(60, seed, 100.0)
        truth = float(exact(A) if exact else torch.linalg.eigvalsh(A).sqrt().sum())
        found = estimate(A, random)
        assert found.value == pytest.approx(truth, rel=0.1)
        shares.append((found.value - truth) / found.standard_error)
    # Each is about normal with deviation 1: the mean of six squares is below 3 in 994 of 1000.
    assert 0.05 < np.mean(np.square(shares)) < 3.5


def test_hutch_plus_plus_is_exact_on_low_rank_and_with_enough_products():
    J = randn(5, 40)
    found = trace(J.T @ J, 30, generator=generator())
    assert found.value == pytest.approx(float(J.square().sum()), rel=1e-10)
    assert found.standard_error < 1e-10 * found.value
    assert trace(spd(9), 27).value == pytest.approx(float(torch.trace(spd(9))), rel=1e-12)


def test_what_is_not_positive_definite_has_no_log_determinant():
    with pytest.raises(ValueError, match=r"got a Ritz value of .*Shifted"):
        log_determinant(torch.diag(torch.tensor([1.0, -1.0, 2.0])))
    with pytest.raises(ValueError, match="products: expected at least 6"):
        trace(torch.eye(3), 5)
    with pytest.raises(ValueError, match="probes: expected at least 2"):
        trace_of(torch.exp, torch.eye(3), 3, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scipy_solves_and_finds_eigenvalues_with_an_operator(dtype):
    net = mlp(4, 3, dtype=dtype)
    X, y = randn(20, 4).to(dtype), torch.arange(20) % 3
    operator = GaussNewtonOperator(cross_entropy_closure(net, X, y), net.parameters())
    G = operator.dense().double()
    shown, damped = operator.to_scipy(), to_scipy(operator.shifted(0.1))
    precise = dtype == torch.float64
    rtol = 1e-8 if precise else 1e-4 if dtype == torch.float32 else 0.05
    v = np.arange(len(G), dtype=float)
    expected = (operator @ torch.tensor(v).to(dtype)).double()
    close(torch.tensor(shown @ v).double(), expected, rtol=1e-12)
    close(torch.tensor(shown @ np.stack([v, v], 1)).double(), expected[:, None].expand(-1, 2))
    if dtype == torch.bfloat16:
        return
    top = linalg.eigsh(shown, k=2, which="LA", return_eigenvectors=False)
    close(torch.tensor(top).double(), torch.linalg.eigvalsh(G)[-2:], rtol=rtol)
    b = torch.linspace(-1, 1, len(G)).double()
    x, code = linalg.cg(damped, b.numpy(), rtol=1e-10 if precise else 1e-5)
    assert code == 0
    close(
        torch.tensor(x).double(),
        torch.linalg.solve(G + 0.1 * torch.eye(len(G)).double(), b),
        rtol=rtol,
    )


def test_arrays_are_named_and_shifted_operators_know_their_type():
    net = mlp(4, 3)
    X, y = randn(20, 4), torch.arange(20) % 3
    operator = GaussNewtonOperator(cross_entropy_closure(net, X, y), net.parameters())
    with pytest.raises(TypeError, match=r"expected a tensor, got ndarray.*to_scipy"):
        operator @ np.ones(15)
    damped = operator.shifted(0.5)
    close(damped @ torch.eye(15).double(), operator.dense() + 0.5 * torch.eye(15))
    assert lanczos(damped, 3).ritz_values.dtype == torch.float64
    assert math.isfinite(log_determinant(Shifted(operator, 0.5), 10, 3).value)
