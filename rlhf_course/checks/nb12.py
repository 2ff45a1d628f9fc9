"""Checks of notebook 12."""

from __future__ import annotations

import torch

from ..checking.cases import generator, integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise


@goal("12.few_changes", labels="20 % wrong")
def few_changes(records, values):
    """95 % of the weights exactly as pre-trained, ending below 0.68, within 0.05 of the least."""
    losses = [r.val_loss for r in records]
    end, rise = losses[-1], losses[-1] - min(losses)
    unmoved = records[-1].extra["unmoved"]
    if unmoved < 0.95 and records[-1].extra["zeros"] > 0.5:
        require(
            False,
            "Most weights are exactly 0. They shall be exactly where they began: the "
            "penalty has the right shape, and the wrong centre.",
        )
    require(
        unmoved > 0.01 or values["strength"] == 0 or values["kind"] == "L1-SP",
        f"{values['kind']} moves every weight a little. Which penalty has a kink, and where "
        "does it have to lie?",
    )
    require(
        unmoved >= 0.95,
        f"{unmoved:.1%} of the weights are as they were; a stronger pull keeps more of them.",
    )
    require(
        rise < 0.05, f"It ends {rise:.2f} above its least value: more strength, or an earlier stop."
    )
    require(
        end < 0.68,
        f"It ends at {end:.3f}, little better than ln 2 = 0.693: so strong that hardly "
        "anything moved.",
    )
    return correct(f"{1 - unmoved:.1%} of the weights changed: that list is all you have to store.")


@exercise("12.l2sp")
def l2sp(answer):
    """A function (theta, start, lambda_reg, v) -> (value, gradient, product) of L2-SP."""
    for seed in range(3):
        n, lam = integer(4, 8, seed), uniform(0.3, 3.0, seed)
        theta, start, v = (randn(n, seed=seed + 10 * k) for k in range(3))
        got = parts(call(answer, theta, start, lam, v), "(value, gradient, product)")
        d = theta - start
        expect(
            got[0],
            lam * d @ d / 2,
            {
                "The value lacks its ½: the gradient would be 2λ(θ − θ₀).": lam * d @ d,
                "That value pulls to zero: measure from the start.": lam * theta @ theta / 2,
                "That is the distance, not half its square.": lam * d.norm(),
                "The value is a sum over the weights, not a mean.": lam * (d * d).mean() / 2,
                "The value lacks λ.": d @ d / 2,
            },
            "The value is λ/2 times the sum of (θ − θ₀)².",
            what="value",
        )
        expect(
            got[1],
            lam * d,
            {
                "The gradient is that of a pull to zero.": lam * theta,
                "The gradient has a factor 2 too many: the ½ of the value takes it away.": 2
                * lam
                * d,
                "It points the wrong way: the gradient points uphill, away from the start.": -lam
                * d,
                "The gradient lacks λ.": d,
            },
            "The gradient is λ(θ − θ₀).",
            what="gradient",
        )
        expect(
            got[2],
            lam * v,
            {
                "The product is with v, not with θ − θ₀: it does not depend on θ.": lam * d,
                "The Hessian is λ times the identity, and you took the identity.": v,
                "The product is a vector, H v; v'Hv is one number.": lam * v @ v,
                "The centre does not enter the curvature: it is the same everywhere.": lam
                * (v - start),
            },
            "The Hessian is λ times the identity, so its product is λv.",
            what="product",
        )
    return correct("Value, gradient and product: all that a Newton-CG step asks of a penalty.")


class Counted:
    """A loss whose mask is drawn by `draw`; it knows how many were drawn."""

    def __init__(self, seed: int):
        self.generator = generator(seed)
        self.masks: list[torch.Tensor] = []
        self.X, self.y = randn(5, 4, seed=seed), randn(5, seed=seed + 1)

    def draw(self) -> torch.Tensor:
        self.masks.append((torch.rand(4, generator=self.generator) < 0.5).double() * 2)
        return self.masks[-1]

    def loss(self, theta, mask):
        return (torch.tanh(self.X @ (theta * mask)) - self.y).pow(2).sum()

    def hessian(self, theta, mask):
        return torch.autograd.functional.hessian(lambda t: self.loss(t, mask), theta)


@exercise("12.one_mask")
def one_mask(answer):
    """A function (loss, draw, theta, vectors) -> (H v for each v) under one mask a call."""
    for seed in range(0, 300, 100):
        task, theta = Counted(seed), randn(4, seed=seed + 5)
        V = randn(integer(3, 5, seed), 4, seed=seed + 6)
        got = attempted(call(answer, task.loss, task.draw, theta, V))
        require(bool(task.masks), "Dropout was left out: ask draw() for a mask.")
        require(
            len(task.masks) == 1,
            f"{len(task.masks)} masks were drawn for {len(V)} products: they were not taken with "
            "one matrix. Draw once, before you begin.",
        )
        H = task.hessian(theta, task.masks[0])
        truth = V @ H
        expect(
            got,
            truth,
            {
                "These are products with the square of H: one derivative round too many.": truth
                @ H,
                "One row a vector: yours are the columns.": truth.T,
                "That is the Hessian without a mask.": V
                @ task.hessian(theta, torch.ones(4).double()),
            },
            "Row i is H v_i, with the H of the loss under that one mask.",
            what="products",
        )
        again = call(answer, task.loss, task.draw, theta, V)
        hint = "The next call is another step, and has a mask of its own."
        require(len(task.masks) == 2, hint)
        expect(again, V @ task.hessian(theta, task.masks[1]), {}, hint, what="products")
    return correct("One function to the solver, a new one at the next step.")
