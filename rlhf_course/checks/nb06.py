"""Checks of notebook 06."""

from __future__ import annotations

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.picture import Curves
from ..checking.registry import exercise


@goal("06.eight", method="proximal Newton")
def eight(records, values):
    """A lambda with which exactly eight weights are not zero, at a KKT residual below 1e-6."""
    last, lam = records[-1], values["lambda_reg"]
    alive = int((last.theta != 0).sum())
    require(
        alive <= 8,
        f"With λ = {lam:g} there are {alive} weights that are not zero. A larger λ makes more "
        "zeros.",
    )
    require(
        alive == 8,
        f"With λ = {lam:g} only {alive} weights are not zero. A smaller λ lets more of them live.",
    )
    require(
        last.extra["kkt"] < 1e-6,
        f"Eight, but the KKT residual is {last.extra['kkt']:.1e}: this is not a minimum yet.",
    )
    return correct("Eight weights at a minimum, and 22 that are zero to the last bit.")


@exercise("06.least_lambda")
def least_lambda(answer):
    """A function of the gradient at 0 -> the least lambda for which theta = 0 is the minimum."""
    for seed in range(4):
        g = randn(5 + seed, seed=seed)
        largest = float(g.abs().max())
        g = torch.where(g.abs() == largest, -g.abs(), g)  # so that the sign matters
        expect(
            call(answer, g),
            largest,
            {
                "A pull to the left counts as much as one to the right: take absolute values.": g.max(),
                "Every |g_j| has to be at most λ, not the smallest one alone: take the largest.": g.abs().min(),
                "That is the length of g. Condition (2) is about each entry by itself.": g.norm(),
                "That is the sum of the |g_j|; each of them has its own λ to hold it.": g.abs().sum(),
                "On average is not enough: every single |g_j| has to be at most λ.": g.abs().mean(),
                "That is the place of the entry; its size is asked for.": g.abs().argmax(),
            },
            "Look for the least λ with |g_j| ≤ λ for all j.",
            what="λ",
        )
    return correct("From there on the penalty holds every weight; just below it, one breaks away.")


@exercise("06.soft_threshold")
def soft_threshold(answer):
    """A function (x, t) -> sign(x) max(|x| - t, 0), entry by entry."""
    grid = torch.linspace(-2, 2, 81)
    for x, t in ((grid, 0.6), (randn(3, 4, seed=1), 0.3), (randn(7, seed=2), 0.0)):
        # The minimizer of (z - x)² / 2 + t |z|, found without the formula: the candidates are
        # the minima of its two parabolas, where they are on their own side, and the corner.
        candidates = torch.stack([(x - t).clamp(min=0), (x + t).clamp(max=0), 0 * x])
        value = 0.5 * (candidates - x) ** 2 + t * candidates.abs()
        target = candidates.gather(0, value.argmin(0, keepdim=True))[0]

        def picture(value, x=x, target=target):
            if x.ndim > 1:
                return None
            order = x.argsort()
            return Curves(
                x[order],
                target[order],
                value[order],
                title="Soft threshold",
                x_title="x",
                y_title="soft(x, t)",
            )

        expect(
            call(answer, x, t),
            target,
            {
                "Entries between −t and t have to become zero; yours come out on the other side: "
                "clamp the shrunk size at 0.": x.sign() * (x.abs() - t),
                "That is the hard threshold: it keeps large entries as they are. Move them towards "
                "zero by t.": torch.where(x.abs() > t, x, 0 * x),
                "The sign is lost: negative entries stay negative.": (x.abs() - t).clamp(min=0),
                "Negative entries are wrong: they, too, move towards zero by t.": (x - t).clamp(
                    min=0
                ),
                "That moves away from zero: subtract t from the size.": x.sign() * (x.abs() + t),
                "Twice as far as it should be: the square in front has a factor ½.": x.sign()
                * (x.abs() - 2 * t).clamp(min=0),
                "Half as far as it should be: move by t, not by t/2.": x.sign()
                * (x.abs() - t / 2).clamp(min=0),
                "That is what the threshold takes away; the rest is asked for.": x.clamp(-t, t),
            },
            "Move each entry towards zero by t, and stop at zero.",
            what="threshold",
            picture=picture,
        )
    x = torch.linspace(-2, 2, 81)
    y = call(answer, x, 0.6)
    return correct(
        "It is continuous, and zero on a whole interval: that is where exact zeros come from.",
        Curves(
            x,
            x.sign() * (x.abs() - 0.6).clamp(min=0),
            y,
            title="Soft threshold, t = 0.6",
            x_title="x",
            y_title="soft(x, t)",
        ),
    )


@exercise("06.kkt_residual")
def kkt_residual(answer):
    """A function (gradient, theta, lam) -> norm of the minimum-norm subgradient."""
    lam = 0.7
    for seed in range(4):
        g, theta = randn(8, seed=seed), randn(8, seed=seed + 10)
        theta[seed % 2 :: 2] = 0.0
        g[seed % 2], g[(seed + 1) % 2] = 1.5, -1.2  # beyond λ, at zero and not at zero
        g[seed % 2 + 2] = 0.3  # held at zero
        zero = theta == 0
        residual = torch.zeros_like(g)
        for j in range(len(g)):
            slopes = [-lam, lam] if zero[j] else [lam * float(theta[j].sign())] * 2
            low, high = float(g[j]) + slopes[0], float(g[j]) + slopes[1]
            residual[j] = max(low, 0.0) + min(high, 0.0)  # the point of [low, high] next to 0
        autograd = g + lam * theta.sign()
        unclamped = torch.where(zero, g.abs() - lam, autograd)
        expect(
            call(answer, g, theta, lam),
            residual.norm(),
            {
                "That is what autograd would say: at θ_j = 0 it takes g_j as it is. Up to λ of it "
                "is held by the corner.": autograd.norm(),
                "Where θ_j = 0 and |g_j| < λ the residual is zero, not negative: "
                "max(|g_j| − λ, 0).": unclamped.norm(),
                "The weights at zero are missing: with |g_j| > λ they want to leave.": autograd[
                    ~zero
                ].norm(),
                "The weights that are not zero are missing: there it is g_j + λ sign θ_j.": residual[
                    zero
                ].norm(),
                "That is the norm of the task's gradient; the penalty is missing.": g.norm(),
                "The sign of the penalty is wrong: it is g_j + λ sign θ_j where θ_j is not zero.": torch.where(
                    zero, residual, g - lam * theta.sign()
                ).norm(),
                "You took the soft threshold of g everywhere; where θ_j is not zero it is "
                "g_j + λ sign θ_j.": (g.sign() * (g.abs() - lam).clamp(min=0)).norm(),
                "That is the vector; its 2-norm is asked for.": residual,
                "That is the largest entry; the 2-norm is asked for.": residual.abs().max(),
                "That is the sum of the sizes; the 2-norm is asked for.": residual.abs().sum(),
                "That is the square of the norm.": residual.square().sum(),
            },
            "Treat the entries with θ_j = 0 and the others apart, as in (3).",
            what="KKT residual",
        )
    return correct(
        "For a convex task it is zero at a minimum of task + λ|θ| and nowhere else: now you can "
        "tell."
    )
