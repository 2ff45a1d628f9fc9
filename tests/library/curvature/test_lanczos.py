"""Lanczos and the density of the spectrum, against dense eigenvalues."""

import math

import pytest
import torch
from cases import (
    classification,
    close,
    cross_entropy_closure,
    few_cases,
    mlp,
    randn,
    seeds,
    spd,
    tiny_bert,
)
from hypothesis import given
from hypothesis import strategies as st

from rlhf_lib import HessianOperator
from rlhf_lib.curvature import Shifted, lanczos, spectral_density


def exactly(*values):
    return torch.tensor(values, dtype=torch.float64)


def symmetric(n, seed=0):
    A = randn(n, n, seed=seed)
    return (A + A.T) / 2


def with_eigenvalues(values, seed=0):
    q, _ = torch.linalg.qr(randn(len(values), len(values), seed=seed))
    return q @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ q.T


@pytest.mark.parametrize("dtype, power", [(torch.float32, 80), (torch.float64, 900)])
def test_the_scale_of_the_matrix_is_that_of_its_eigenvalues(dtype, power):
    A, start = symmetric(8).to(dtype), randn(8, seed=1).to(dtype)
    plain = lanczos(A, 5, start=start)
    for s in (2.0**power, 2.0**-power):
        close(lanczos(A * s, 5, start=start / s).ritz_values / s, plain.ritz_values, rtol=1e-6)


class Products:
    """A matrix that counts its products and shows nothing else of itself."""

    def __init__(self, A):
        self.A, self.shape, self.dtype, self.count = A, A.shape, A.dtype, 0

    def __matmul__(self, v):
        self.count += 1
        return self.A @ v


@few_cases
@given(n=st.integers(1, 30), seed=seeds)
def test_all_steps_give_all_eigenvalues(n, seed):
    A = symmetric(n, seed)
    found = lanczos(A, n, start=randn(n, seed=seed + 1))
    assert len(found.ritz_values) == n
    close(found.ritz_values, torch.linalg.eigvalsh(A), rtol=1e-10)


@few_cases
@given(n=st.integers(2, 40), share=st.floats(0.1, 1), seed=seeds)
def test_tridiagonal_is_a_in_an_orthonormal_basis(n, share, seed):
    A, k, start = symmetric(n, seed), max(1, int(share * n)), randn(n, seed=seed + 1)
    found = lanczos(A, k, start=start)
    Q, e = found.basis, found.off_diagonal
    T = torch.diag(found.diagonal) + torch.diag(e, 1) + torch.diag(e, -1)
    close(Q @ Q.T, torch.eye(k, dtype=A.dtype), rtol=1e-13)
    close(Q @ A @ Q.T, T, rtol=1e-12)
    close(Q[0], start / start.norm())
    close(found.first_components.square().sum(), exactly(1.0)[0])


@few_cases
@given(k=st.integers(1, 25), seed=seeds)
def test_an_eigenvalue_lies_within_each_bound(k, seed):
    A = symmetric(25, seed)
    found = lanczos(A, k, start=randn(25, seed=seed + 1))
    distance = (found.ritz_values[:, None] - torch.linalg.eigvalsh(A)).abs().amin(1)
    assert bool((distance <= found.bounds + 1e-12).all())
    # The bound is the residual of the Ritz pair itself, so it is no larger than it must be.
    T = found.basis @ A @ found.basis.T
    vectors = found.basis.T @ torch.linalg.eigh((T + T.T) / 2).eigenvectors
    residuals = (A @ vectors - vectors * found.ritz_values).norm(dim=0)
    close(found.bounds, residuals, rtol=1e-8, atol=1e-10)


def test_both_ends_are_found_long_before_the_middle():
    A = with_eigenvalues([-3.0, *torch.linspace(0, 1, 298).tolist(), 5.0])
    found = lanczos(A, 12, start=randn(300, seed=1))
    close(found.ritz_values[[0, -1]], exactly(-3.0, 5.0), rtol=1e-8)
    assert float(found.bounds[-1]) < 1e-3 < float(found.bounds[5])


def test_no_copies_of_converged_eigenvalues_in_a_long_run():
    # Without reorthogonalization 1e6 would come back several times among the 100 values.
    A = with_eigenvalues(torch.logspace(-6, 6, 100))
    found = lanczos(A, 100, start=randn(100, seed=3))
    close(found.ritz_values, torch.linalg.eigvalsh(A), rtol=1e-12)
    assert int((found.ritz_values > 5e5).sum()) == int((torch.linalg.eigvalsh(A) > 5e5).sum())


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_an_invariant_subspace_is_named_and_its_values_are_exact(distinct):
    values = torch.linspace(-1, 3, distinct, dtype=torch.float64)
    A = Products(with_eigenvalues(values.repeat(20 // distinct)))
    found = lanczos(A, 20, start=randn(20, seed=4))
    assert found.reason == "invariant_subspace" and A.count == distinct
    close(found.ritz_values, values, rtol=1e-12)
    assert float(found.bounds.max()) == 0


def test_a_start_in_few_eigenvectors_finds_these_alone():
    A = torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64))
    start = torch.zeros(8, dtype=torch.float64)
    start[[1, 4, 6]] = exactly(1.0, -2.0, 0.5)
    found = lanczos(A, 8, start=start)
    close(found.ritz_values, exactly(2.0, 5.0, 7.0))
    assert found.reason == "invariant_subspace"


def test_the_zero_matrix():
    found = lanczos(torch.zeros(6, 6, dtype=torch.float64), 6)
    assert found.ritz_values.tolist() == [0.0] and found.reason == "invariant_subspace"


def test_steps_are_products_and_the_reason_says_that_they_ran_out():
    A = Products(symmetric(30))
    found = lanczos(A, 7, generator=torch.Generator().manual_seed(0))
    assert found.reason == "steps" and A.count == 7 and found.basis.shape == (7, 30)


def test_the_generator_alone_decides():
    A = symmetric(12)
    first, again, other = (
        lanczos(A, 5, generator=torch.Generator().manual_seed(s)).ritz_values for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_single_precision_stays_single():
    A = spd(20).float()
    found = lanczos(A, 20, start=randn(20, seed=1).float())
    assert found.ritz_values.dtype == found.basis.dtype == torch.float32
    close(found.ritz_values[-1], torch.linalg.eigvalsh(A)[-1], rtol=1e-5)


def test_the_hessian_of_a_whole_bert():
    bert = tiny_bert()
    H = HessianOperator(bert.closure, bert.params)
    found = lanczos(H, 40, generator=torch.Generator().manual_seed(0))
    eigenvalues = torch.linalg.eigvalsh(bert.hessian)
    close(found.ritz_values[-1], eigenvalues[-1], rtol=1e-8)
    close(found.ritz_values[0], eigenvalues[0], rtol=1e-6)
    assert H.products == 40


def test_operators_without_a_dtype():
    A = Shifted(spd(8), 2.0)
    values = lanczos(A, 8, start=randn(8)).ritz_values
    close(values, torch.linalg.eigvalsh(spd(8)) + 2.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("k", "start", "match"),
    [
        (0, None, "1 <= k <= 5"),
        (6, None, "1 <= k <= 5"),
        (2, torch.ones(4), "shape"),
        (2, torch.zeros(5), "zero"),
        (2, torch.full((5,), math.nan), "finite"),
    ],
)
def test_what_cannot_be_is_refused(k, start, match):
    with pytest.raises(ValueError, match=match):
        lanczos(torch.eye(5), k, start=start)


def test_nan_in_a_product_is_an_error():
    with pytest.raises(FloatingPointError, match="product 1"):
        lanczos(torch.full((3, 3), math.nan), 2)


def density_of(A, steps, probes, seed=0):
    return spectral_density(A, steps, probes, generator=torch.Generator().manual_seed(seed))


def test_moments_of_one_probe_are_those_of_its_vector():
    A, steps = symmetric(15, seed=2), 4
    density = density_of(A, steps, 1)
    bits = torch.randint(2, (15,), generator=torch.Generator().manual_seed(0), dtype=A.dtype)
    v = 2 * bits - 1
    for p in range(2 * steps):
        expected = v @ torch.linalg.matrix_power(A, p) @ v / 15
        assert density.mean(lambda x, p=p: x**p) == pytest.approx(float(expected), rel=1e-9)
    # A quadrature of this many points goes no further.
    p = 2 * steps
    beyond = float(v @ torch.linalg.matrix_power(A, p) @ v / 15)
    assert abs(density.mean(lambda x: x**p) / beyond - 1) > 1e-6


def test_of_a_diagonal_matrix_the_signs_see_every_eigenvalue_alike():
    values = exactly(-1.0, -1.0, 0.0, 0.5, 2.0, 2.0, 2.0, 9.0)
    density = density_of(torch.diag(values), 8, 1)
    close(density.nodes, exactly(-1.0, 0.0, 0.5, 2.0, 9.0))
    close(density.weights, exactly(2, 1, 1, 3, 1) / 8)


@few_cases
@given(n=st.integers(1, 25), steps=st.integers(1, 30), probes=st.integers(1, 4), seed=seeds)
def test_it_is_a_distribution_and_its_integral_is_one(n, steps, probes, seed):
    A = symmetric(n, seed)
    density = density_of(A, steps, probes, seed % 1000)
    assert bool((density.weights >= 0).all())
    assert float(density.weights.sum()) == pytest.approx(1, rel=1e-12)
    assert bool((density.nodes.diff() >= 0).all())
    reach = float(torch.linalg.eigvalsh(A).abs().max()) + 1
    width = reach / 50
    grid = torch.linspace(-reach - 8 * width, reach + 8 * width, 1000, dtype=torch.float64)
    integral = torch.trapezoid(density.smoothed(grid, width), grid)
    assert float(integral) == pytest.approx(1, rel=1e-8)


def test_many_probes_come_near_the_true_density():
    A = with_eigenvalues([*torch.linspace(-1, 1, 190).tolist(), *[4.0] * 10], seed=7)
    eigenvalues = torch.linalg.eigvalsh(A)
    density = density_of(A, 30, 40)
    assert abs(density.mean(lambda x: x) - float(eigenvalues.mean())) < 0.02
    assert abs(density.mean(lambda x: (x > 2).double()) - 10 / 200) < 0.01
    assert abs(density.mean(torch.exp) / float(eigenvalues.exp().mean()) - 1) < 0.1
    grid, width = torch.linspace(-2, 5, 300, dtype=torch.float64), 0.15
    z = (grid[:, None] - eigenvalues) / width
    truth = (-0.5 * z * z).exp().mean(1) / (width * math.sqrt(2 * math.pi))
    gap = torch.trapezoid((density.smoothed(grid, width) - truth).abs(), grid)
    assert float(gap) < 0.05


def test_a_gauss_newton_like_null_space_is_weighed():
    x, y = classification(n=4, features=3, classes=2)
    net = mlp(3, 4, 2)
    H = HessianOperator(cross_entropy_closure(net, x, y), net.parameters())
    dense = torch.linalg.eigvalsh(H.dense())
    density = density_of(H, 26, 60)
    share = density.mean(lambda v: (v < -1e-3).double())
    assert abs(share - float((dense < -1e-3).double().mean())) < 0.05


@pytest.mark.parametrize(("steps", "probes"), [(0, 1), (1, 0)])
def test_a_density_needs_steps_and_probes(steps, probes):
    with pytest.raises(ValueError, match="expected at least 1"):
        spectral_density(torch.eye(3), steps, probes)
