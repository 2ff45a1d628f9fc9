"""Counted costs against counts by hand."""

import itertools

import pytest
import torch

from rlhf_course.cost.counted import forward_in_gradients, product_in_gradients
from rlhf_lib import GaussNewtonOperator, HessianOperator


@pytest.mark.parametrize("sizes", [(64, 12, 10), (8, 8, 8, 8, 8)])
def test_products_of_a_chain_of_linear_layers(sizes):
    layers = [torch.nn.Linear(a, b).double() for a, b in itertools.pairwise(sizes)]
    net = torch.nn.Sequential(*(m for layer in layers for m in (layer, torch.nn.Tanh())))
    x, y = torch.randn(5, sizes[0]).double(), torch.randn(5, sizes[-1]).double()

    def both():
        z = net(x)
        return torch.nn.functional.mse_loss(z, y), z

    # Multiplications of a layer: w for outputs, w for its weights' gradient, and, but for the
    # first, w for its inputs' gradient.
    w = [layer.weight.numel() for layer in layers]
    gradient = 3 * sum(w) - w[0]
    # J v: the weights' part for all, the inputs' part for all but the first. J' u: the same.
    gauss_newton = 2 * (2 * sum(w) - w[0])
    G = GaussNewtonOperator(both, net.parameters())
    assert product_in_gradients(G, lambda: both()[0], net.parameters()) == pytest.approx(
        gauss_newton / gradient
    )
    H = HessianOperator(both, net.parameters())
    assert 1 < product_in_gradients(H, lambda: both()[0], net.parameters()) < 2
    forward = forward_in_gradients(lambda: both()[0], net.parameters())
    assert forward == pytest.approx(sum(w) / gradient)
