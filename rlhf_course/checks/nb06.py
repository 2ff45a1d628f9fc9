"""Checks of notebook 06."""

from __future__ import annotations

import torch

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
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
    for seed, side in enumerate((1, -1, 1, -1)):  # the strongest pull to the right, to the left
        g = randn(integer(4, 9, seed=seed), seed=seed)
        largest = float(g.abs().max())
        g = torch.where(g.abs() == largest, side * g.abs(), 0.9 * g)
        expect(
            call(answer, g),
            largest,
            {
                "A pull to the left counts as much as one to the right: take absolute values.": g.max()
                if side < 0
                else -g.min(),
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


@exercise("06.elastic_prox")
def elastic_prox(answer):
    """A function (x, t, s) -> argmin over z of (z - x)² / 2 + t |z| + s z² / 2, entry by entry."""
    grid = torch.linspace(-2, 2, 81)
    t, s = uniform(0.3, 0.8, seed=1), uniform(0.5, 1.5, seed=2)
    cases = [(grid, t, s), (randn(3, 4, seed=3), t, 0.0), (randn(7, seed=4), 0.0, s)]
    for x, t, s in cases:
        # By trying: ever finer grids of z around the best one, the corner among them.
        best, width = torch.zeros_like(x), 3 * torch.ones_like(x)
        for _ in range(12):
            tried = torch.cat(
                [best[None] + width * torch.linspace(-1, 1, 41).view(-1, *[1] * x.ndim)]
            )
            tried = torch.cat([tried, torch.zeros_like(x)[None]])
            value = 0.5 * (tried - x) ** 2 + t * tried.abs() + 0.5 * s * tried**2
            best, width = tried.gather(0, value.argmin(0, keepdim=True))[0], width / 8
        soft = x.sign() * (x.abs() - t).clamp(min=0)

        def picture(value, x=x, target=best):
            if x.ndim > 1:
                return None
            order = x.argsort()
            return Curves(
                x[order],
                target[order],
                value[order],
                title="The prox of the elastic net",
                x_title="x",
                y_title="z",
            )

        expect(
            call(answer, x, t, s),
            best,
            {
                "Where |x| ≤ t the minimum is the corner: those entries have to become zero.": x.sign()
                * (x.abs() - t)
                / (1 + s),
                "That is the soft threshold alone: the square shrinks what is left.": soft,
                "The derivative of ½ s z² is s z, so s counts once, not twice.": soft / (1 + 2 * s),
                "The threshold comes first: at z = 0 the square has no slope, so it does not move "
                "the place where the zeros end.": (x / (1 + s)).sign()
                * ((x / (1 + s)).abs() - t).clamp(min=0),
                "The square pulls in proportion to z, not by a fixed amount: set the derivative to "
                "zero and solve for z.": x.sign() * (x.abs() - t - s).clamp(min=0),
                "The sign is lost: negative entries stay negative.": soft.abs() / (1 + s),
                "That is the prox of the square alone.": x / (1 + s),
                "You multiplied by s where the derivative says 1 + s.": soft * s,
            },
            "Set the derivative to zero for z > 0, solve for z, and ask when it is positive.",
            what="prox",
            rtol=1e-5,
            picture=picture,
        )
    return correct("The corner decides which are zero, the square how large the others are.")


@exercise("06.kkt_residual")
def kkt_residual(answer):
    """A function (gradient, theta, lam) -> norm of the minimum-norm subgradient."""
    for seed in range(5):
        lam, n = uniform(0.4, 1.0, seed=seed), integer(8, 12, seed=seed)
        g, theta = randn(n, seed=seed), randn(n, seed=seed + 10)
        theta[seed % 2 :: 2] = 0.0
        g[seed % 2], g[(seed + 1) % 2] = 2 * lam, -1.7 * lam  # beyond λ, at zero and not at zero
        g[seed % 2 + 2] = 0.4 * lam  # held at zero
        if seed >= 3:
            theta[(seed + 1) % 2] = {3: -1e-3, 4: -1e-10}[seed]  # small, not zero
            theta[seed % 2] = -0.0
        zero = theta == 0
        residual = torch.zeros_like(g)
        for j in range(len(g)):
            slopes = [-lam, lam] if zero[j] else [lam * float(theta[j].sign())] * 2
            low, high = float(g[j]) + slopes[0], float(g[j]) + slopes[1]
            residual[j] = max(low, 0.0) + min(high, 0.0)  # the point of [low, high] next to 0
        autograd = g + lam * theta.sign()
        unclamped = torch.where(zero, g.abs() - lam, autograd)
        near = torch.where(theta.abs() < 0.05, g.sign() * (g.abs() - lam).clamp(min=0), autograd)
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
                "A weight that is small is not zero: a method that leaves it there has not arrived. "
                "Ask for θ_j == 0.": near.norm(),
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


@exercise("06.whose_lambda")
def whose_lambda(answer):
    """A function (gradient, theta) -> the λ for which theta is a minimum of task + λ|θ|, or 0."""
    lam, n = uniform(0.01, 2.0), integer(6, 12)
    theta = randn(n)
    theta[::2] = 0.0
    alive = theta != 0
    g = torch.where(alive, -lam * theta.sign(), lam * 0.9 * torch.tanh(randn(n, seed=1)))
    g[0] = -0.95 * lam
    expect(
        call(answer, g, theta),
        lam,
        {
            "Here is a minimum, and you say there is none: which of the two lines of (2) fails?": 0.0,
            "Only weights that are not zero tell λ; the others are pulled by less.": g.abs().mean(),
            "The force on a weight that is alive points away from zero, so −g_j has its sign.": -lam,
            "That is the number of samples too many, or a sum over the weights: each of them alone "
            "tells λ.": lam * int(alive.sum()),
        },
        "Each weight that is not zero is pulled with exactly the force λ.",
        what="λ",
    )
    expect(
        call(answer, g * (1 + 1e-5 * randn(n, seed=2)), theta),
        lam,
        {"A solver stops at a small error, here 1e-5: allow a relative error of 1e-3.": 0.0},
        what="λ",
        rtol=1e-3,
    )
    away = g.clone()
    away[0] = -1.5 * lam
    uneven, turned, first = g.clone(), g.clone(), int(alive.nonzero()[0])
    uneven[first] *= 1.3
    turned[first] *= -1
    for gradient, hint in (
        (away, "A weight at zero is pulled by 1.5 λ here, and would leave: this is no minimum."),
        (uneven, "One weight that is not zero is pulled by 1.3 λ here: they all have to agree."),
        (turned, "One weight here is pulled towards zero with the force λ: it wants to shrink."),
        (-g, "All weights here are pulled towards zero: only a negative λ would hold them."),
    ):
        require(abs(float(call(answer, gradient, theta))) < 1e-12, hint + " Return 0.")
    full = randn(5, seed=3)
    expect(call(answer, -lam * full.sign(), full), lam, {}, "No weight is zero here.", what="λ")
    return correct("A minimum of L1 carries its λ with it. Now you can test any solver.")


@exercise("06.twins")
def twins(answer):
    """The first twin's share of the effect, with L1 and with L2."""
    l1, l2 = (torch.as_tensor(part, dtype=torch.float64) for part in parts(answer, "(l1, l2)"))
    expect(
        l1,
        0.0,
        {
            "That is the second twin's share; the first one's is asked for.": 1.0,
            "The effect is θ₁ + 2θ₂, so that the second weight counts twice.": 0.5,
            "That is what L2 does.": 0.2,
        },
        "L1 charges |θ₁| + |θ₂| for θ₁ + 2θ₂.",
        what="share with L1",
        atol=1e-4,
    )
    expect(
        l2,
        0.2,
        {
            "That is the second twin's share; the first one's is asked for.": 0.8,
            "That is θ₁ / (θ₁ + θ₂), the share of the weights; the effect is θ₁ + 2θ₂.": 1 / 3,
            "That is θ₁ / θ₂.": 0.5,
            "L2 leaves something to the first twin: look at the weights again.": 0.0,
        },
        "L2 charges θ₁² + θ₂² for θ₁ + 2θ₂: where is that least?",
        what="share with L2",
        atol=1e-4,
    )
    return correct(
        "With L1 the units decide who is chosen; L2 spreads. So scale the columns first."
    )
