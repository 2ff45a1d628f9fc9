"""Checks of notebook 02."""

from __future__ import annotations

import math

import torch

from ..checking.cases import integer, randn
from ..checking.expect import call, expect, parts
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
            "That is with the factor 1 − 1/κ, that of η = 1/κ. The best η does better: see (5).": 1375.0,
            "That many bring f, which goes with the distance squared, to a millionth.": 345.4,
            "The two logarithms have different bases: take the same one twice.": 300.0,
            "Newton's method would need 1; the question is about gradient descent.": 1.0,
            "k steps multiply the distance by the k-th power of (5), not by 1 − 2k/κ.": 50.0,
        },
        "Solve (99/101)ᵏ = 10⁻⁶ for k.",
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
        p = integer(3, 7, seed)
        Q, _ = torch.linalg.qr(randn(p, p, seed=seed + 10))
        # One eigenvalue is small, so that what is added to H shows.
        A = (
            Q
            @ torch.cat([torch.tensor([1e-3]), 1 + randn(p - 1, seed=seed + 20).abs()]).diag()
            @ Q.T
        )
        b, theta, q = randn(p, seed=seed + 30), randn(p, seed=seed + 40), Q[:, -1]

        def f(t, A=A, b=b, q=q, theta=theta):
            _refuse_points_beside(theta, t)
            return 0.5 * t @ A @ t + b @ t + (q @ t).cosh()

        g, H = A @ theta + b + (q @ theta).sinh() * q, A + (q @ theta).cosh() * torch.outer(q, q)
        d = -torch.linalg.solve(H, g)
        value = call(answer, f, theta)
        damped = theta - torch.linalg.solve(H + 1e-8 * torch.eye(p), g)
        expect(
            value,
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
                "Nearly: a little was added to the diagonal of H. That damps its small "
                "eigenvalues.": damped,
            },
            "It is θ − H⁻¹g, with both derivatives taken at θ.",
            what="new point",
            rtol=1e-9,
        )
    return correct("Equal to a direct solve with the Hessian in closed form, for random functions.")


def _refuse_points_beside(theta, point):
    """Ends the check where f is asked for at a point very near to θ, as by differences."""
    try:
        apart = float((point - theta).detach().norm())
    except RuntimeError:  # a transform of torch.func looks at f: no numbers to see
        return
    require(
        not 0 < apart < 1e-2,
        "Your function takes differences of f: they are not exact. Autograd needs f at θ alone.",
    )


PROGRAMS = {"A": "doubled", "B": "right", "C": "rounded", "D": "kept"}


@exercise("02.wrong_run")
def wrong_run(answer):
    """ "BDAC": which program is right, keeps its Hessian, doubles it, rounds its gradient."""
    joined = "".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    given = joined.upper().replace(" ", "").replace(",", "")
    require(
        sorted(given) == list(PROGRAMS),
        "Answer with each of the letters A, B, C and D once, in the order (right, kept Hessian, "
        "doubled Hessian, rounded gradient).",
    )
    said = dict(zip(("right", "kept", "doubled", "rounded"), given, strict=True))
    require(
        said["right"] == "B",
        "The right program squares its error in each step, down to rounding: only one does.",
    )
    require(
        said["rounded"] == "C",
        "A rounded gradient is zero before the minimum is reached: its error stops falling.",
    )
    require(
        said["doubled"] == "A",
        "With twice the curvature each step goes half of the way: a factor of ½. With the kept one, "
        "e, it is 1 − 1/e.",
    )
    return correct("A wrong Hessian costs speed; a wrong gradient costs the minimum.")


@exercise("02.experiment")
def experiment(answer):
    """(kappa, eta, beta) with which the heavy ball needs less than a fifth of (5)'s steps."""
    kappa, eta, beta = (float(x) for x in parts(answer, "(kappa, eta, beta)"))
    require(50 <= kappa <= 1e6, f"Choose a κ from 50 to a million, not {kappa:g}.")
    promised = math.log(1e-6) / math.log((kappa - 1) / (kappa + 1))
    limit = math.ceil(promised / 5)
    a = before = torch.ones(2)  # along u and along v
    curvatures = torch.tensor([1.0, kappa])
    for step in range(1, limit + 1):
        a, before = a - eta * curvatures * a + beta * (a - before), a
        size = float(a.norm() / 2**0.5)
        require(
            size < 1e6,
            f"With η = {eta:g} and β = {beta:g} the ball is thrown out: after {step} steps it is "
            f"{size:.0e} times as far.",
        )
        if size <= 1e-6:
            return correct(
                f"{step} steps, where (5) promises {promised:.0f}: momentum pays with the root of κ."
            )
    without = " (That is gradient descent: β is zero.)" if beta == 0 else ""
    raise Wrong(
        f"After {limit} steps, a fifth of {promised:.0f}, it has {size:.1e} of the distance left."
        f"{without}"
    )
