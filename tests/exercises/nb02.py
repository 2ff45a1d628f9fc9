"""Answers to the exercises of notebook 02."""

import torch
from answers import Shown, record


def valley(x, y, rate):
    H = torch.tensor(
        [[0.64 + 25 * 0.36, 0.48 - 25 * 0.48], [0.48 - 25 * 0.48, 0.36 + 25 * 0.64]],
        dtype=torch.float64,
    )
    start = torch.tensor([x, y], dtype=torch.float64)
    steps = [record(theta=start), record(theta=start - rate * H @ start)]
    return Shown(steps, {"method": "gradient descent", "kappa": 25.0, "rate": rate, "x": x, "y": y})


def bowl(x, **changes):
    thetas = [torch.tensor([x], dtype=torch.float64)]
    for _ in range(12):
        if thetas[-1].abs() < 20:
            thetas.append(thetas[-1] - (2 * thetas[-1]).sinh() / 2)
    return Shown([record(theta=t) for t in thetas], {"bowl": "log cosh x", "x": x}, **changes)


def derivatives(f, theta):
    point = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(f(point), point)
    return g, torch.autograd.functional.hessian(f, theta)


def step(solve):
    return lambda f, theta: theta - solve(*derivatives(f, theta))


def full(f, theta):
    return step(lambda g, H: torch.linalg.solve(H, g))(f, theta)


def in_place(f, theta):
    theta -= torch.linalg.solve(*derivatives(f, theta)[::-1])
    return theta


def by_backward(f, theta):
    theta.requires_grad_(True)
    f(theta).backward()
    H = torch.autograd.functional.hessian(f, theta.detach())
    return theta.detach() - torch.linalg.solve(H, theta.grad)


SOLUTIONS = {"02.one_step": valley(2.0, 1.5, 1.0), "02.edge": bowl(1.08)}

MISTAKES = {
    "02.one_step": [
        (valley(2.0, -1.0, 0.05), "different step sizes"),
        (valley(2.0, 1.5, 0.04), "too small"),
        (valley(-1.5, 2.0, 1.0), "too large"),
        (valley(0.0, 0.0, 1.0), "at least 1 away"),
        (1.0, "the panel itself"),
    ],
    "02.steps": [
        (69, "κ = 10."),
        (6908, "κ = 1000"),
        (1375, "1 − 1/κ"),
        (345, "distance squared"),
        (300, "different bases"),
        (1, "would need 1"),
        (50, "not by kρ"),
        (1000, "Solve"),
    ],
    "02.edge": [
        (bowl(1.2), "runs away"),
        (bowl(1.09), "Start closer"),
        (bowl(1.0), "go farther out"),
        (bowl(1.08, status="Stopped after 2 records."), "stopped"),
    ],
    "02.newton_step": [
        (step(lambda g, H: -torch.linalg.solve(H, g)), "The sign"),
        (lambda f, t: full(f, t) - t, "That is the step d"),
        (lambda f, t: t - full(f, t), "That is H⁻¹g"),
        (step(lambda g, H: H @ g), "multiplies"),
        (step(lambda g, H: g / H.diagonal()), "diagonal"),
        (step(lambda g, H: g / H), "entry by entry"),
        (step(lambda g, H: g), "gradient descent"),
        (step(lambda g, H: torch.linalg.solve(H, g) / 2), "half a step"),
        (lambda f, t: derivatives(f, t)[0], "the gradient."),
        (in_place, "theta in place"),
        (by_backward, "backward"),
        (lambda f, t: torch.zeros_like(t), "off by"),
    ],
}
