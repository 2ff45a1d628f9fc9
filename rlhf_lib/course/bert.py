"""Checks of notebook 10."""

from __future__ import annotations

import torch

from ..curvature import GaussNewtonOperator
from .feedback import almost, attempted, correct, exercise


@exercise("10.closure")
def closure(answer):
    """A function (model, inputs, labels) -> (mean cross-entropy, logits), without backward."""
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)
    ).double()
    x, y = torch.randn(7, 5, dtype=torch.float64), torch.randint(0, 3, (7,))
    torch.set_rng_state(torch_state)
    result = attempted(answer(model, x, y))
    if any(p.grad is not None for p in model.parameters()):
        return almost("No backward(): the optimizer differentiates the loss itself, and twice.")
    if isinstance(result, torch.Tensor):
        return almost("Gauss-Newton needs the outputs, too: return (loss, outputs).")
    if not isinstance(result, tuple) or len(result) != 2:
        return almost(f"Expected (loss, outputs), got {type(result).__name__}.")
    loss, outputs = result
    if loss.ndim > 0 and outputs.ndim == 0:
        return almost("The order is (loss, outputs), not (outputs, loss).")
    if not loss.requires_grad or not outputs.requires_grad:
        return almost("The graph is cut: no detach(), no item(), no torch.no_grad().")
    expected = torch.nn.functional.cross_entropy(model(x), y)
    if torch.allclose(loss, expected * len(x)):
        return almost("The sum was taken; the optimizer expects the mean over the samples.")
    if loss.ndim > 0:
        return almost("The loss is one number per sample; take the mean.")
    if torch.allclose(loss, torch.nn.functional.cross_entropy(model(x).softmax(1), y)):
        return almost("cross_entropy takes logits; a softmax before it squeezes them twice.")
    if not torch.allclose(loss, expected):
        return almost("That is not the mean cross-entropy of model(inputs) and labels.")
    params = list(model.parameters())
    G = GaussNewtonOperator(lambda: (loss, outputs), params).dense()
    if outputs.shape != (7, 3) or torch.linalg.eigvalsh(G)[0] < -1e-10:
        return almost("The outputs should be the logits that went into the loss, of shape (n, C).")
    return correct("The optimizer can now form J'HJ v from your loss and outputs, and it is ≥ 0.")


@exercise("10.finite_difference")
def finite_difference(answer):
    """A function (gradient, theta, v, eps) -> central-difference estimate of H v."""
    theta = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
    v = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)

    def gradient(t):
        return t.sin() + 0.3 * t**4

    eps = 1e-5
    exact = (theta.cos() + 1.2 * theta**3) * v
    estimate = attempted(answer(gradient, theta.clone(), v.clone(), eps))
    if not isinstance(estimate, torch.Tensor) or estimate.shape != v.shape:
        return almost("Expected a vector of the shape of v.")
    error = float((estimate - exact).norm() / exact.norm())
    if error < 1e-9:
        return correct("Two gradients estimate H v; autograd gives the same product without an ε.")
    if torch.allclose(estimate, -exact, rtol=1e-6):
        return almost("The sign is wrong: it is gradient(θ + εv) − gradient(θ − εv).")
    if torch.allclose(estimate, 2 * exact, rtol=1e-6):
        return almost("Divide by 2ε: the two points are 2ε apart along v.")
    if torch.allclose(estimate, exact * eps, rtol=1e-3) or torch.allclose(
        estimate, 2 * exact * eps, rtol=1e-3
    ):
        return almost("The difference has yet to be divided by 2ε.")
    if error < 1e-3:
        return almost("Close: that is a one-sided difference, of order ε. Use θ + εv and θ − εv.")
    return almost("Use [gradient(θ + εv) − gradient(θ − εv)] / (2ε).")
