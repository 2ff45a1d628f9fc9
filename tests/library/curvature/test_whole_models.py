"""Whole models in float64: curvature against torch's dense matrices and central differences.

The tiny BERT has its place in test_operators.py.
"""

import pytest
import torch
from cases import Classifier, classification, close, difference_product, mlp, randn, tiny_gpt2

from rlhf_lib import GaussNewtonOperator, HessianOperator, exact_hessian


def norm_mlp():
    X, Y = classification(8, features=4)
    return Classifier(mlp(4, 6, 5, 3, norm=True), Y, X)


MODELS = {"GPT-2": tiny_gpt2, "MLP with LayerNorm": norm_mlp}


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    found = MODELS[request.param]()
    found.dense = {"hessian": found.hessian(), "ggn": found.gauss_newton()}
    return found


def test_gradient_and_loss_are_those_of_autograd(model):
    loss, _ = model.closure()
    expected = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, model.params)])
    for Operator in (HessianOperator, GaussNewtonOperator):
        operator = Operator(model.closure, model.params)
        assert operator.loss == pytest.approx(loss.item(), rel=1e-14)
        close(operator.gradient, expected, rtol=1e-12)


@pytest.mark.parametrize("keep_graph", [True, False])
def test_hessian_products_are_those_of_the_dense_matrix(model, keep_graph):
    operator = HessianOperator(model.closure, model.params, keep_graph=keep_graph)
    for seed in range(3):
        v = randn(len(model.theta), seed=seed)
        close(operator @ v, model.dense["hessian"] @ v, rtol=1e-10)


@pytest.mark.parametrize("keep_graph", [True, False])
def test_gauss_newton_products_are_those_of_the_dense_matrix(model, keep_graph):
    operator = GaussNewtonOperator(model.closure, model.params, keep_graph=keep_graph)
    for seed in range(3):
        v = randn(len(model.theta), seed=seed)
        close(operator @ v, model.dense["ggn"] @ v, rtol=1e-10)


def test_exact_hessian_is_the_dense_matrix(model):
    H = exact_hessian(model.loss, model.theta)
    close(H, model.dense["hessian"], rtol=1e-10)
    close(H, H.T, rtol=1e-12)


def test_hessian_products_agree_with_central_differences(model):
    operator = HessianOperator(model.closure, model.params)
    for seed in (0, 1):
        v = randn(len(model.theta), seed=seed)
        close(operator @ v, difference_product(model.loss, model.theta, v), rtol=1e-6)


def test_gauss_newton_products_agree_with_central_differences_of_the_outputs(model):
    # J v by differences, then H_L and J' by one backward pass each at fixed curvature.
    operator = GaussNewtonOperator(model.closure, model.params)
    v = randn(len(model.theta))
    h = 1e-4 / float(v.norm())
    with torch.no_grad():
        jv = (model.logits(model.theta + h * v) - model.logits(model.theta - h * v)) / (2 * h)
        p = model.logits(model.theta).softmax(1)
    hjv = (p * jv - p * (p * jv).sum(1, keepdim=True)) / len(p)
    theta = model.theta.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(model.logits(theta), theta, hjv)
    close(operator @ v, expected, rtol=1e-6)


def test_the_two_matrices_are_not_one(model):
    H, G = model.dense["hessian"], model.dense["ggn"]
    assert float((H - G).norm()) > 0.05 * float(H.norm())
    assert float(torch.linalg.eigvalsh(G)[0]) > -1e-12
    assert float(torch.linalg.eigvalsh(H)[0]) < -1e-3
