"""Answers to the exercises of notebook 04."""

import torch
from answers import Shown, record
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


SOLUTIONS = {"04.epsilon": after(2e-3, 6e-5)}

MISTAKES = {
    "04.epsilon": [
        (after(1e-2, 5e-4), "the bend"),
        (after(1e-5, 9e-3), "rounding"),
        (2e-3, "the panel itself"),
    ],
    "04.hvp": [
        (without_graph, "create_graph"),
        (central, "a quotient"),
        (lambda f, t, v: v @ exact(f, t, v), "along v"),
        (lambda f, t, v: grad(f)(t), "gradient of f"),
        (lambda f, t, v: grad(f)(t) @ v, "slope along v"),
        (lambda f, t, v: grad(f)(t) * (grad(f)(t) @ v), "times itself"),
        (summed, "g.sum()"),
        (lambda f, t, v: summed(f, t, v) * v, "entry by entry"),
        (lambda f, t, v: matrix(f, t).diagonal() * v, "diagonal"),
        (lambda f, t, v: exact(f, t, v / v.norm()), "divided by |v|"),
        (lambda f, t, v: torch.linalg.solve(matrix(f, t), v), "solves"),
        (lambda f, t, v: -exact(f, t, v), "sign"),
        (lambda f, t, v: 0.5 * exact(f, t, v), "0.5 times"),
        (lambda f, t, v: hessian(f)(t) @ v, "torch.func.hessian"),
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
        (lambda product, u, v: gap(product, u, v) + 0.0123, "The two numbers"),
    ],
}
