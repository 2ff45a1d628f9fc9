"""Norms and products of vectors whose squares are no numbers of their type."""

import math

import pytest
import torch

from rlhf_lib.regularizers import L1, L2, ElasticNet, GroupLasso, PseudoHuber, SparseGroupLasso
from rlhf_lib.scaling import dot, exponent, norm, shifted


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_norms_and_products_over_the_range_of_the_type(dtype):
    ends = torch.finfo(dtype)
    for size in (ends.tiny, ends.tiny**0.7, 1.0, ends.max**0.7, ends.max / 8):
        v = torch.tensor([3.0, -4.0, 0.0], dtype=dtype) * size
        w = torch.tensor([1.0, 2.0, 5.0], dtype=dtype) / 8
        assert norm(v) == pytest.approx(5 * size, rel=2 * ends.eps)
        assert dot(v, w) == pytest.approx(-5 / 8 * size, rel=2 * ends.eps)
        assert torch.equal(shifted(shifted(v, -exponent(v)), exponent(v)), v)


def test_what_has_no_order_of_size_is_left_alone():
    assert norm(torch.zeros(3)) == norm(torch.zeros(0)) == exponent(torch.zeros(3)) == 0
    assert norm(torch.tensor([1.0, math.inf])) == math.inf
    assert math.isnan(norm(torch.tensor([1e30, math.nan])))


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1e25])
def test_penalties_are_those_of_double_precision_where_single_loses_squares(size):
    theta, ones = torch.tensor([3.0, -4.0, 0.0, 1.0]) * size, torch.ones(4)
    for penalty in (
        GroupLasso(groups=torch.tensor([0, 0, 1, 2])),
        L2(weight=1e-20),
        PseudoHuber(delta=size),
    ):
        for asked in (
            lambda x, one, penalty=penalty: penalty.value(x),
            lambda x, one, penalty=penalty: penalty.gradient(x),
            lambda x, one, penalty=penalty: penalty.subgradient(one, x),
            lambda x, one, penalty=penalty: penalty.curvature_product(one * size, x),
            lambda x, one, penalty=penalty: penalty.prox(x, size / 2),
        ):
            single, double = asked(theta, ones), asked(theta.double(), ones.double())
            torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-44)


@pytest.mark.parametrize("n", [16 * 4096 - 1, 16 * 4096, 3_000_001])
@pytest.mark.parametrize("same", [True, False], ids=["equal terms", "weights of a network"])
def test_a_penalty_of_millions_of_weights_is_summed_as_in_double_precision(n, same):
    """One float32 sum of three million equal terms is off by a thousandth."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.full((n,), 0.01) if same else 0.05 * torch.randn(n, generator=generator)
    weight = torch.rand(n, generator=generator)
    groups = torch.arange(n) // 64
    for penalty in (
        L1(weight=weight),
        L2(weight=weight),
        ElasticNet(weight=weight),
        GroupLasso(groups=groups),
        SparseGroupLasso(groups=groups),
    ):
        single, double = penalty.value(theta), penalty.value(theta.double())
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(double), rel=3e-5 if n < 100_000 else 1e-6)
