"""Answers to the exercises of notebook 04."""

import itertools

import numpy as np
import torch
from answers import Shown, record, stopped
from torch.func import grad, hessian, jvp


def exact(f, theta, v):
    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(f(x), x, create_graph=True)
    return torch.autograd.grad(g @ v, x)[0]


def matrix(f, theta):
    return torch.stack([exact(f, theta, e) for e in torch.eye(len(theta))])


def summed(f, theta, v):
    return exact(f, theta, torch.ones_like(v))


def central(f, theta, v, eps=1e-5):
    return (grad(f)(theta + eps * v) - grad(f)(theta - eps * v)) / (2 * eps)


def richardson(f, theta, v):
    """Three halvings extrapolated: right to about 1e-13."""
    rows = [[central(f, theta, v, eps) for eps in (2e-2, 1e-2, 5e-3, 2.5e-3)]]
    for k in (1, 2, 3):
        last = rows[-1]
        rows.append([(4**k * b - a) / (4**k - 1) for a, b in itertools.pairwise(last)])
    return rows[-1][0]


def by_columns(f, theta, v):
    columns = (exact(f, theta, e) for e in torch.eye(len(theta)))
    return sum(x * column for x, column in zip(v, columns, strict=True))


def forward_over_reverse(f, theta, v):
    return jvp(grad(f), (theta,), (v,))[1]


def by_backward(f, theta, v):
    point = theta.detach().clone().requires_grad_()
    g = torch.autograd.grad(f(point), point, create_graph=True)[0]
    (g * v.detach()).sum().backward()
    return point.grad


def without_graph(f, theta, v):
    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(f(x), x)
    return torch.autograd.grad(g @ v, x)[0]


def backward_leaves_a_gradient(f, theta, v):
    theta.requires_grad_(True)
    f(theta).backward()
    return exact(f, theta.detach(), v)


def after(eps, error, least=1e-5):
    steps = [record(extra={"eps": e, "error": x}) for e, x in ((1.0, 0.6), (1e-3, least))]
    return Shown(
        [*steps, record(extra={"eps": eps, "error": error})],
        {"method": "central", "numbers": "float32", "eps": eps},
    )


def gap(product, u, v):
    Hv, Hu = product(v), product(u)
    return abs(u @ Hv - v @ Hu) / (u.norm() * Hv.norm() + v.norm() * Hu.norm())


def unsigned(product, u, v):
    Hv, Hu = product(v), product(u)
    return (u @ Hv - v @ Hu) / (u.norm() * Hv.norm() + v.norm() * Hu.norm())


def unscaled(product, u, v):
    return abs(u @ product(v) - v @ product(u))


def by_inner_products(product, u, v):
    a, b = u @ product(v), v @ product(u)
    return abs(a - b) / (abs(a) + abs(b))


def squares(product, u, v):
    Hv, Hu = product(v), product(u)
    return abs(u @ Hu - v @ Hv) / (u.norm() * Hu.norm() + v.norm() * Hv.norm())


def by_the_matrix(product, u, v):
    A = torch.stack([product(e) for e in torch.eye(len(u))], dim=1)
    return gap(lambda x: A @ x, u, v)


def by_differences(product, u, v):
    """The numerator by u'(Hv) - v'(Hu) as one matrix product."""
    Hv, Hu = product(v), product(u)
    both = torch.stack([u, v]) @ torch.stack([Hv, Hu], 1)
    return (both[0, 0] - both[1, 1]).abs() / (u.norm() * Hv.norm() + v.norm() * Hu.norm())


def by_floats(product, u, v):
    Hv, Hu = product(v).tolist(), product(u).tolist()
    u, v = u.tolist(), v.tolist()

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    def norm(a):
        return dot(a, a) ** 0.5

    return abs(dot(u, Hv) - dot(v, Hu)) / (norm(u) * norm(Hv) + norm(v) * norm(Hu))


def of_one(product, u, v):
    """One product, of u + v, and nothing that tells."""
    w = product(u + v)
    return abs(u @ w - v @ w) / ((u.norm() + v.norm()) * w.norm())


TWO = 2.128  # decades that (3) promises

RIGHT = {
    "04.epsilon": [after(1.5e-3, 5e-5), after(4e-3, 9.9e-5), after(1e-3, 2e-5)],
    "04.hvp": [exact, forward_over_reverse, by_backward],
    "04.asymmetry": [gap, by_differences, by_floats],
    "04.five_points": [
        (8 / 12, -1 / 12, 4, TWO),
        [torch.tensor(2 / 3, dtype=torch.float64), -0.08333333333, 4.0, 2.1],
        np.array([2 / 3, -1 / 12, 4, 2.13]),
    ],
    "04.always_two": [
        ([1000, 1], [1, 50, 50, 50, 50]),
        [torch.tensor([800, 2, 1]), torch.tensor([2, 90, 90, 90])],
        ((300, 1, 1), (3, 100, 100, 100, 100, 1)),
    ],
}

SOLUTIONS = {"04.epsilon": after(2e-3, 6e-5)}

MISTAKES = {
    "04.epsilon": [
        (after(1e-2, 5e-4), "the bend"),
        (after(1e-5, 9e-3), "rounding"),
        (2e-3, "the panel itself"),
        (after(2e-3, 1.001e-4), "the bend"),
        (after(1e-4, 5e-4, least=2e-5), "was 2.0e-05 on the way"),
        (stopped(after(1.5e-3, 5e-5)), "a whole one"),
    ],
    "04.hvp": [
        (without_graph, "create_graph"),
        (central, "a quotient"),
        (richardson, "other points"),
        (lambda f, t, v: central(f, t, v, 1e-6), "a quotient"),
        (lambda f, t, v: matrix(f, t) @ v, "builds the matrix"),
        (
            lambda f, t, v: sum(
                exact(f, t, e) * x for e, x in zip(torch.eye(len(t)), v, strict=False)
            ),
            "a column",
        ),
        (lambda f, t, v: torch.autograd.functional.hessian(f, t) @ v, "builds the matrix"),
        (lambda f, t, v: v @ exact(f, t, v), "along v"),
        (lambda f, t, v: grad(f)(t), "gradient of f"),
        (lambda f, t, v: grad(f)(t) @ v, "slope along v"),
        (lambda f, t, v: grad(f)(t) * (grad(f)(t) @ v), "times itself"),
        (summed, "g.sum()"),
        (lambda f, t, v: summed(f, t, v) * v, "entry by entry"),
        (lambda f, t, v: matrix(f, t).diagonal() * v, "diagonal"),
        (lambda f, t, v: exact(f, t, v / v.norm()), "divided by ‖v‖"),
        (lambda f, t, v: torch.linalg.solve(matrix(f, t), v), "solves"),
        (lambda f, t, v: -exact(f, t, v), "sign"),
        (lambda f, t, v: 0.5 * exact(f, t, v), "0.5 times"),
        (lambda f, t, v: hessian(f)(t) @ v, "builds the matrix"),
        (lambda f, t, v: grad(lambda s: jvp(f, (s,), (v,))[1])(t), "grad(jvp(f))"),
        (backward_leaves_a_gradient, "left a gradient"),
        (lambda f, t, v: v, "gradient of g @ v"),
    ],
    "04.asymmetry": [
        (unsigned, "absolute value of the difference"),
        (unscaled, "denominator is missing"),
        (by_inner_products, "by lengths"),
        (squares, "mix them"),
        (lambda product, u, v: gap(product, u, u), "every matrix"),
        (by_the_matrix, "two are enough"),
        (of_one, "The two numbers"),
        (lambda product, u, v: gap(product, u, v) + 0.0123, "The two numbers"),
    ],
    "04.five_points": [
        ((0.5, 0.0, 4, TWO), "central quotient"),
        ((1.0, -1 / 12, 4, TWO), "2a + 4b"),
        ((4 / 3, -1 / 6, 4, TWO), "2a + 4b"),
        ((1 / 3, 1 / 12, 4, TWO), "order ε²"),
        ((2 / 3, -1 / 12, 3, TWO), "k is not 3"),
        ((2 / 3, -1 / 12, 5, TWO), "k is not 5"),
        ((2 / 3, -1 / 12, 4, 0.96), "float32"),
        ((2 / 3, -1 / 12, 4, -TWO), "positive"),
        ((2 / 3, -1 / 12, 4, 4.79), "one-sided"),
        ((2 / 3, -1 / 12, 4), "tuple"),
    ],
    "04.always_two": [
        (([64, 32, 10], [2, 64, 64, 64, 64]), "cheap costs"),
        (([500, 2, 2], [64, 64, 64, 64]), "dear costs"),
        (([2, 64, 64, 64, 64], [500, 2, 2, 2]), "cheap costs"),
        (([500, 2, 2], [2, 64]), "three layers"),
        (([500, 2, 2], [2, 8, 8, 1]), "dear costs"),
        ((500, [2, 64, 64, 64]), "list of widths"),
        (([500.5, 2], [2, 64, 64, 64]), "list of widths"),
        ([500, 2, 2], "pair"),
    ],
}
