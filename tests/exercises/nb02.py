"""Answers to the exercises of notebook 02."""

import numpy as np
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


def by_differences(f, theta, eps=1e-5):
    p, eye = len(theta), torch.eye(len(theta), dtype=theta.dtype) * eps
    g = torch.stack([(f(theta + e) - f(theta - e)) / (2 * eps) for e in eye])
    H = torch.zeros(p, p, dtype=theta.dtype)
    for i in range(p):
        up, down = (derivatives(f, theta + s * eye[i])[0] for s in (1, -1))
        H[i] = (up - down) / (2 * eps)
    return theta - torch.linalg.solve(H, g)


def by_loops(f, theta):
    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(f(x), x, create_graph=True)
    rows = [torch.autograd.grad(entry, x, retain_graph=True)[0] for entry in g]
    return theta - torch.linalg.inv(torch.stack(rows)) @ g.detach()


def by_func(f, theta):
    H, g = torch.func.hessian(f)(theta), torch.func.grad(f)(theta)
    return theta - torch.cholesky_solve(g[:, None], torch.linalg.cholesky(H))[:, 0]


def by_numpy(f, theta):
    g, H = derivatives(f, theta)
    return theta.numpy() - np.linalg.solve(H.numpy(), g.numpy())


def by_library(f, theta):
    from rlhf_lib import newton

    return list(newton(f, theta, max_steps=1))[1].theta


SOLUTIONS = {"02.one_step": valley(2.0, 1.5, 1.0), "02.edge": bowl(1.08)}

RIGHT = {
    "02.one_step": [valley(*at) for at in ((-1.5, 2.0, 0.04), (0.8, 0.6, 1.0), (-2.4, -1.8, 1.0))],
    "02.steps": [np.int64(691), torch.tensor(691), 690.8, torch.tensor(700.0)],
    "02.edge": [bowl(1.08), bowl(-1.08), bowl(1.085)],
    "02.newton_step": [by_loops, by_func, by_numpy, by_library],
    "02.wrong_run": ["b, d, a, c", ["B", "D", "A", "C"], tuple("bdac")],
    "02.experiment": [(1000.0, 0.0037, 0.88), [200, 0.0173, 0.76], torch.tensor([100, 0.033, 0.7])],
}

MISTAKES = {
    "02.one_step": [
        (valley(2.0, -1.0, 0.05), "different step sizes"),
        (valley(2.0, 1.5, 0.04), "too small"),
        (valley(-1.5, 2.0, 1.0), "too large"),
        (valley(0.0, 0.0, 1.0), "at least 1 away"),
        (valley(2.0, 1.51, 1.0), "different step sizes"),
        (valley(0.4, 0.3, 1.0), "at least 1 away"),
        (1.0, "the panel itself"),
    ],
    "02.steps": [
        (69, "κ = 10."),
        (6908, "κ = 1000"),
        (1375, "1 − 1/κ"),
        (345, "distance squared"),
        (300, "different bases"),
        (1, "would need 1"),
        (50, "not by 1 − 2k"),
        (1000, "Solve"),
    ],
    "02.edge": [
        (bowl(1.2), "runs away"),
        (bowl(1.09), "Start closer"),
        (bowl(1.0), "go farther out"),
        (bowl(0.0), "go farther out"),
        (bowl(-1.3), "runs away"),
        (bowl(1.08, status="Stopped after 2 records."), "stopped"),
        (1.0887, "the panel itself"),
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
        (by_differences, "differences"),
        (step(lambda g, H: torch.linalg.solve(H + 1e-8 * torch.eye(len(g)), g)), "added"),
        (step(lambda g, H: torch.linalg.solve(H + 1e-6 * torch.eye(len(g)), g)), "off by"),
        (step(lambda g, H: torch.linalg.pinv(H, rtol=1e-2) @ g), "off by"),
    ],
    "02.wrong_run": [
        ("ABCD", "squares its error"),
        ("CDAB", "squares its error"),
        ("BACD", "stops falling"),
        ("BCAD", "stops falling"),
        ("BADC", "a factor of ½"),
        ("B", "once"),
        ("BBBB", "once"),
    ],
    "02.experiment": [
        ((100, 2 / 101, 0.0), "gradient descent"),
        ((100, 0.04, 1.0), "of the distance left"),
        ((100, 0.05, 0.1), "thrown out"),
        ((10, 0.23, 0.27), "from 50"),
        ((100, 0.01, 0.9), "of the distance left"),
        ((100, float("nan"), 0.9), ""),
        ((100, 0.033), "Return the triple"),
    ],
}
