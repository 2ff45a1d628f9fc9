"""Checks of notebook 02."""

from __future__ import annotations

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, attempted, correct, require
from ..checking.goals import WORDS, goal
from ..checking.registry import exercise

WORDS.update(kappa="κ", bowl="function")
EDGE = 1.0887  # just above the root of sinh 2x = 4x, where a step on log cosh lands at -x


@goal("02.one_step", method="gradient descent", kappa=25)
def one_step(records, values):
    """With κ = 25, a start and a step size with which gradient descent arrives in one step."""
    start = torch.tensor([values["x"], values["y"]], dtype=torch.float64)
    require(
        float(start.norm()) > 0.999,
        "That start is (almost) at the minimum already: begin at least 1 away from it.",
    )
    floor, wall = abs(0.8 * start[0] + 0.6 * start[1]), abs(0.8 * start[1] - 0.6 * start[0])
    if float(records[1].theta.norm()) < 1e-9:
        return correct("Along an eigenvector one over its eigenvalue is the right step size.")
    if min(floor, wall) > 1e-9:
        raise Wrong(
            "The start has a part along the floor and a part across it, and they want different "
            "step sizes: choose a start on one of the two lines."
        )
    right, line = (1, "on the floor") if wall < floor else (25, "across the valley")
    side = "small" if values["rate"] < 1 / right else "large"
    raise Wrong(
        f"The start lies exactly {line}, where the eigenvalue is {right}. For this direction η = "
        f"{values['rate']:.3g} is too {side}."
    )


@exercise("02.steps")
def steps(answer):
    """How many steps of gradient descent for a factor 1e-6 at condition number 100."""
    expect(
        attempted(answer),
        691.0,
        {
            "That is for κ = 10.": 69.0,
            "That is for κ = 1000.": 6908.0,
            "That is with ρ = 1 − 1/κ, the rate for η = 1/κ. The best η does better: see (5).": 1375.0,
            "That many bring f, which goes with the distance squared, to a millionth.": 345.4,
            "The two logarithms have different bases: take the same one twice.": 300.0,
            "Newton's method would need 1; the question is about gradient descent.": 1.0,
            "k steps multiply the distance by ρᵏ, not by kρ or 1 − 2k/κ.": 50.0,
        },
        "Solve ρᵏ = 10⁻⁶ with ρ = 99/101.",
        what="number of steps",
        rtol=0.05,
    )
    return correct("About 7 κ steps for six digits: gradient descent pays in proportion to κ.")


@goal("02.edge", bowl="log cosh x")
def edge(records, values):
    """The largest start, to 0.01, from which undamped Newton minimizes log cosh."""
    start, end = abs(values["x"]), float(records[-1].theta.abs())
    first = float(records[1].theta.abs()) if len(records) > 1 else 0.0
    require(
        end < 1e-3,
        f"From {start:.2f} it runs away: the first step lands at distance {first:.2f} on the other "
        "side, farther out than it began. Start closer.",
    )
    require(
        start > EDGE - 0.0101,
        f"It arrives from {start:.2f}, but also from {start + 0.01:.2f}: go farther out.",
    )
    return correct("Up to 1.0887 a step lands closer than it began; beyond, each one overshoots.")


@exercise("02.newton_step")
def newton_step(answer):
    """A function (f, theta) -> theta - H^-1 g."""
    for seed in range(3):
        B, b, theta = randn(4, 4, seed=seed), randn(4, seed=seed + 10), randn(4, seed=seed + 20)
        A = B @ B.T

        def f(t, A=A, b=b):
            return t.cosh().sum() + 0.5 * t @ A @ t + b @ t

        g, H = theta.sinh() + A @ theta + b, A + theta.cosh().diag()
        d = -torch.linalg.solve(H, g)
        expect(
            call(answer, f, theta),
            theta + d,
            {
                "The sign: that goes away from the model's minimum. It is θ − H⁻¹g.": theta - d,
                "That is the step d; the point after it is θ + d.": d,
                "That is H⁻¹g; the point after the step is θ − H⁻¹g.": -d,
                "That multiplies the gradient by H; solve H d = −g instead.": theta - H @ g,
                "That divides by the diagonal of H alone; its other entries matter, too.": theta
                - g / H.diagonal(),
                "g / H divides entry by entry; solve the linear system instead.": theta - g / H,
                "That is a step of gradient descent with η = 1: the Hessian is missing.": theta - g,
                "That is half a step: the ½ of the model cancels when it is differentiated.": theta
                + d / 2,
                "That is the gradient.": g,
            },
            "It is θ − H⁻¹g, with both derivatives taken at θ.",
            what="new point",
        )
    return correct("Equal to a direct solve with the Hessian in closed form, for random functions.")
