"""Checks of notebook 10."""

from __future__ import annotations

import torch

from rlhf_lib.curvature import GaussNewtonOperator

from ..checking.cases import integer, randn
from ..checking.expect import call, expect, parts
from ..checking.feedback import almost, attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb10_linear import PROBE

LEAST_STEPS = 24
SLOW, AT_REST = 0.1, 0.001  # what is left of the first step's gradient


@goal("10.hold", noise=0.2, sentences=200, place=PROBE)
def hold(records, values):
    """λ > 0, 24 steps or more or to the end, and a validation loss that ends below 0.53 and within
    0.02 of its least value; true or linearized."""
    end, rise = _end_and_rise(records)
    require(
        values["lambda_reg"] > 0,
        "With λ = 0 nothing holds the weights: they are only slow, or stopped. Take λ > 0.",
    )
    require(
        _left(records) < AT_REST or len(records) > LEAST_STEPS,
        f"{len(records) - 1} steps are early stopping by another name: take {LEAST_STEPS}.",
    )
    require(
        rise < 0.02,
        f"It ends {rise:.2f} above its least value, so it is on its way up: λ = "
        f"{values['lambda_reg']:g} does not hold the weights. Take a larger one.",
    )
    require(
        _left(records) < SLOW,
        "It is slow rather than held: the gradient of the objective is still "
        f"{_left(records):.0%} of what it was at the start. Take less damping μ, or more steps.",
    )
    require(end < 0.53, f"It is held, but at {end:.2f}, above 0.53.")
    moved = records[0].train_loss - records[-1].train_loss
    away = (
        "It has hardly left the probe, though: a smaller λ holds as well."
        if moved < 0.01
        else f"The training loss fell by {moved:.2f} meanwhile, so it did leave the probe."
    )
    return correct(
        f"The penalty, not the moment of stopping, keeps the validation loss down. {away}"
    )


def _end_and_rise(records):
    losses = [r.val_loss for r in records]
    return losses[-1], losses[-1] - min(losses)


def _left(records):
    """What is left of the first step's gradient, of task and penalty."""
    return records[-1].grad_norm / records[1].grad_norm if len(records) > 1 else 1.0


@goal("10.hessian", curvature="Hessian H")
def hessian(records, values):
    """The optimizer's own panel with the Hessian in place of the Gauss-Newton matrix: a validation
    loss that ends below 0.57 and within 0.05 of its least value."""
    end, rise = _end_and_rise(records)
    solves = [r.reason for r in records[1:]]
    met = solves.count("negative_curvature")
    require(
        not values["penalty"].endswith("to zero") or (end < 0.57 and rise < 0.05),
        f"The validation loss ends at {end:.2f}. A penalty centred at zero pulls the pre-trained "
        "weights away, whatever the data say: centre it where they are.",
    )
    require(
        rise < 0.05 or 2 * met <= len(records),
        f"It ends {rise:.2f} above its least value, and {met} of {len(solves)} solves ended "
        "at negative curvature with a step that was hardly solved for: start with more damping μ.",
    )
    require(
        rise < 0.05,
        f"It ends {rise:.2f} above its least value, so it is on its way up: λ = "
        f"{values['lambda_reg']:g} does not hold the weights. Take a larger one.",
    )
    require(end < 0.57, f"It is held, but at {end:.2f}, above 0.57.")
    return correct(
        f"{met} of {len(solves)} solves met negative curvature, and damping, penalty and line "
        "search kept the steps going down all the same."
    )


class Curve:
    """A classifier that remembers how often it was asked, and the matrices of a pair."""

    def __init__(self, seed: int):
        n, d, c = integer(5, 9, seed), integer(3, 6, seed + 1), integer(3, 5, seed + 2)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(d, 4), torch.nn.Tanh(), torch.nn.Linear(4, c)
        )
        for k, p in enumerate(self.model.parameters()):
            p.data = randn(*p.shape, seed=seed + 20 + k)
        self.x, self.shape = randn(n, d, seed=seed + 3), (n, c)
        self.y = (randn(n, seed=seed + 4).abs() * 10).long() % c

    def matrix(self, loss, outputs):
        """The Gauss-Newton matrix that an optimizer makes of a pair."""
        return GaussNewtonOperator(lambda: (loss, outputs), list(self.model.parameters())).dense()


@exercise("10.closure")
def closure(answer):
    """A function (model, inputs, labels) -> (mean cross-entropy, logits), without backward."""
    for seed in (0, 100):
        task = Curve(seed)
        model, x, y = task.model, task.x, task.y
        result = attempted(answer(model, x, y))
        if any(p.grad is not None for p in model.parameters()):
            return almost("No backward(): the optimizer differentiates the loss itself, and twice.")
        if isinstance(result, torch.Tensor):
            return almost("Gauss-Newton needs the outputs, too: return (loss, outputs).")
        loss, outputs = parts(result, "(loss, outputs)")
        if not isinstance(loss, torch.Tensor) or not isinstance(outputs, torch.Tensor):
            return almost("The graph is cut: no detach(), no item(), no torch.no_grad().")
        if loss.ndim > 0 and outputs.ndim == 0:
            return almost("The order is (loss, outputs), not (outputs, loss).")
        if not loss.requires_grad or not outputs.requires_grad:
            return almost("The graph is cut: no detach(), no item(), no torch.no_grad().")
        logits = model(x)
        expected = torch.nn.functional.cross_entropy(logits, y)
        if loss.ndim > 0:
            return almost("The loss is one number per sample; take the mean.")
        if torch.allclose(loss, expected * len(x)):
            return almost("The sum was taken; the optimizer expects the mean over the samples.")
        if torch.allclose(loss, torch.nn.functional.cross_entropy(logits.softmax(1), y)):
            return almost("cross_entropy takes logits; a softmax before it squeezes them twice.")
        if not torch.allclose(loss, expected):
            return almost("That is not the mean cross-entropy of model(inputs) and labels.")
        if outputs.shape != task.shape:
            return almost("The outputs should be the logits that went into the loss, (n, C).")
        try:
            G = task.matrix(loss, outputs)
        except Exception:
            return almost(
                "The loss has to be computed from the very outputs that you return: ask the model "
                "once, and use what it said for both."
            )
        truth = task.matrix(expected, logits)
        if not torch.allclose(G, truth, atol=1e-8):
            scale = float(G.norm() / truth.norm())
            return almost(
                f"The loss is right, but G made of your pair is {scale:.2g} times as large as it "
                "should be. Of log-probabilities the loss is linear, so H_L is 0 and G with it; of "
                "probabilities it is another matrix. The outputs have to be the logits."
            )
    return correct("The optimizer can now form J'HJ v from your loss and outputs, and it is ≥ 0.")


@exercise("10.finite_difference")
def finite_difference(answer):
    """A function (gradient, theta, v, eps) -> central-difference estimate of H v."""
    for seed, eps in ((0, 0.3), (1, 0.1), (2, 1e-5)):
        n = integer(3, 6, seed)
        theta, v = randn(n, seed=seed), randn(n, seed=seed + 10)
        asked = []

        def gradient(t, asked=asked):
            asked.append(t)
            return t.sin() + 0.3 * t**4

        exact = (theta.cos() + 1.2 * theta**3) * v
        got = call(answer, gradient, theta, v, eps)
        calls = len(asked)
        ahead, behind, here = (gradient(theta + k * eps * v) for k in (1, -1, 0))
        truth = (ahead - behind) / (2 * eps)
        expect(
            got,
            truth,
            {
                "The sign is wrong: it is gradient(θ + εv) − gradient(θ − εv).": -truth,
                "Divide by 2ε: the two points are 2ε apart along v.": 2 * truth,
                "The difference has yet to be divided by 2ε.": 2 * eps * truth,
                "Divide by 2ε, do not multiply by ε.": eps * truth,
                "Close, but one-sided, so of order ε: use θ + εv and θ − εv.": (ahead - here) / eps,
                "Nearer to H v than two points so far apart can tell: your step is not eps, or you "
                "took second derivatives.": exact if eps > 0.01 else None,
                "The points lie eps apart along v / |v|: the product is with v as it is.": (
                    gradient(theta + eps * v / v.norm()) - gradient(theta - eps * v / v.norm())
                )
                / (2 * eps),
            },
            "Use [gradient(θ + εv) − gradient(θ − εv)] / (2ε).",
            rtol=1e-7,
        )
        require(calls == 2, f"Two gradients are enough, and you took {calls}.")
    return correct("Two gradients estimate H v; autograd gives the same product without an ε.")
