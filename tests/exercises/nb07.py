"""Answers to the exercises of notebook 07."""

import math

import numpy as np
import torch
from answers import Shown, record, stopped


def after(loss, width, steps, gap):
    values = {"loss": loss, "width": width, "steps": steps}
    return Shown([record(step=steps, extra={"gap": gap})], values)


def hessian(outputs, loss, theta, v):
    return torch.autograd.functional.hvp(lambda t: loss(outputs(t)), theta, v)[1]


def forward(outputs, loss, theta, v):
    return torch.func.jvp(outputs, (theta,), (v,))[1]


def curved(outputs, loss, theta, v):
    z = outputs(theta)
    return torch.autograd.functional.hvp(loss, z, forward(outputs, loss, theta, v))[1]


def pulled(outputs, theta, u):
    return torch.func.vjp(outputs, theta)[1](u)[0]


def product(outputs, loss, theta, v):
    return pulled(outputs, theta, curved(outputs, loss, theta, v))


def gradient(outputs, loss, theta, v):
    return torch.func.grad(lambda t: loss(outputs(t)))(theta)


def in_place(outputs, loss, theta, v):
    answer = product(outputs, loss, theta, v)
    v *= 2
    return answer


def fishers(
    middle=lambda pi: torch.diag_embed(pi) - pi[:, :, None] * pi[:, None, :],
    swap=False,
    scale_f=1,
    scale_e=1,
    mean=False,
    same=False,
    plain=False,
):
    def answer(J, pi, y):
        n, classes, _ = J.shape
        F = torch.einsum("ncp,ncd,ndq->pq", J, middle(pi), J) / n
        slope = (0 if plain else pi) - torch.nn.functional.one_hot(y, classes)
        g = torch.einsum("ncp,nc->np", J, slope.double())
        g = g.mean(0, keepdim=True).expand_as(g) if mean else g
        factors = (n if scale == "n" else scale for scale in (scale_f, scale_e))
        E = F if same else g.T @ g / n
        F, E = (scale * M for scale, M in zip(factors, (F, E), strict=True))
        return (E, F) if swap else (F, E)

    return answer


def dense_jacobian(outputs, loss, theta, v):
    J = torch.func.jacrev(outputs)(theta).flatten(0, 1)
    z = outputs(theta)
    return J.T @ torch.autograd.functional.hvp(loss, z, (J @ v).view_as(z))[1].flatten()


def dense_inner(outputs, loss, theta, v):
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    inner = torch.autograd.functional.hessian(loss, z).reshape(z.numel(), z.numel())
    return pulled(outputs, theta, (inner @ Jv.flatten()).view_as(z))


def dense(outputs, loss, theta, v):
    J = torch.autograd.functional.jacobian(outputs, theta).flatten(0, 1)
    inner = torch.func.hessian(loss)(outputs(theta)).reshape(len(J), len(J))
    return J.T @ inner @ J @ v


def quotient_forward(outputs, loss, theta, v, eps=1e-6):
    z = outputs(theta)
    Jv = (outputs(theta + eps * v) - outputs(theta - eps * v)) / (2 * eps)
    return pulled(outputs, theta, torch.autograd.functional.hvp(loss, z, Jv)[1])


def quotient_of_slopes(outputs, loss, theta, v, eps=1e-5):
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    slope = torch.func.grad(loss)
    return pulled(outputs, theta, (slope(z + eps * Jv) - slope(z - eps * Jv)) / (2 * eps))


def tangent_quotient(outputs, loss, theta, v, eps=1e-5):
    """The gradient of the linearized model's loss, at two points."""
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    up, down = (torch.func.grad(loss)(z + e * Jv) for e in (eps, -eps))
    return (pulled(outputs, theta, up) - pulled(outputs, theta, down)) / (2 * eps)


def unnormalized(outputs, loss, theta, v):
    return 2 * product(outputs, loss, theta, v)


def by_double_backward(outputs, loss, theta, v):
    """Jv from two backward passes, and the rest from one graph."""
    x = theta.clone().requires_grad_(True)
    z = outputs(x)
    u = torch.zeros_like(z, requires_grad=True)
    (back,) = torch.autograd.grad(z, x, u, create_graph=True)
    (Jv,) = torch.autograd.grad(back, u, v, retain_graph=True)
    (slope,) = torch.autograd.grad(loss(z), z, create_graph=True)
    (curved_,) = torch.autograd.grad(slope, z, Jv, retain_graph=True)
    return torch.autograd.grad(z, x, curved_)[0]


def by_forward_mode(outputs, loss, theta, v):
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    return pulled(outputs, theta, torch.func.jvp(torch.func.grad(loss), (z,), (Jv,))[1])


def by_library(outputs, loss, theta, v):
    from rlhf_lib import GaussNewtonOperator

    x = theta.clone().requires_grad_(True)
    return GaussNewtonOperator(lambda: (loss(z := outputs(x)), z), [x]) @ v


def drawn_labels(J, pi, y):
    """The Fisher from one draw a sample."""
    n = len(y)
    drawn = torch.multinomial(pi, 1)[:, 0]
    return tuple(
        (g := torch.einsum("ncp,nc->np", J, pi - torch.eye(pi.shape[1])[labels])).T @ g / n
        for labels in (drawn, y)
    )


def by_loops(J, pi, y):
    n, C, p = J.shape
    F, E = torch.zeros(p, p), torch.zeros(p, p)
    for i in range(n):
        for c in range(C):
            g = J[i].T @ (pi[i] - torch.eye(C)[c])
            F += pi[i, c] * torch.outer(g, g) / n
            E += (c == int(y[i])) * torch.outer(g, g) / n
    return [F, E]


def in_numpy(J, pi, y):
    return np.stack([M.numpy() for M in fishers()(J, pi, y)])


RIGHT = {
    "07.agree": [
        after("squared error", width, steps, gap)
        for width, steps, gap in ((32, 300, 0.004), (12, 300, 0.019), (20, 150, 0.01))
    ],
    "07.ggn_product": [by_double_backward, by_forward_mode, by_library],
    "07.colleague": [
        ("e", lambda s: math.sqrt((1 - s * s) / 3)),
        ["E", lambda s: torch.tensor(1 - s**2).div(3).sqrt()],
        (" E", lambda s: np.sqrt(1 / 3 - s**2 / 3)),
    ],
    "07.fishers": [lambda *a: torch.stack(fishers()(*a)), by_loops, in_numpy],
}

SOLUTIONS = {"07.agree": after("squared error", 16, 200, 0.006)}

MISTAKES = {
    "07.agree": [
        (after("cross-entropy", 16, 200, 0.36), "take the other loss"),
        (after("squared error", 16, 20, 0.1), "train on"),
        (after("squared error", 4, 300, 0.07), "So few hidden units"),
        (after("squared error", 0, 0, 0.0), "too easy"),
        (0.01, "the panel itself"),
        (after("squared error", 16, 200, 0.02), "train on"),
        (after("cross-entropy", 32, 300, math.nan), "take the other loss"),
        (after("squared error", 11, 300, 0.021), "So few hidden units"),
        (stopped(after("squared error", 16, 10, 0.01)), "a whole one"),
    ],
    "07.ggn_product": [
        (hessian, "That is Hv"),
        (lambda f, loss, t, v: pulled(f, t, forward(f, loss, t, v)), "That is J'Jv"),
        (forward, "Two factors"),
        (curved, "space of the outputs"),
        (gradient, "v has not been used"),
        (lambda f, loss, t, v: (g := gradient(f, loss, t, v)) * (g @ v), "no outer product"),
        (lambda *a: -product(*a), "sign"),
        (lambda *a: product(*a) / 7, "0.1429 times"),
        (lambda f, loss, t, v: loss(f(t)), "a tensor of shape"),
        (dense, "builds a matrix"),
        (dense_jacobian, "builds a matrix"),
        (dense_inner, "builds a matrix"),
        (quotient_forward, "other points"),
        (quotient_of_slopes, "other points"),
        (tangent_quotient, "other points"),
        (unnormalized, "times what it should be"),
        (in_place, "v in place"),
    ],
    "07.fishers": [
        (fishers(swap=True), "other way round"),
        (fishers(scale_f="n"), "F is a mean"),
        (fishers(scale_e="n"), "E is a mean"),
        (fishers(mean=True), "outer product of the mean"),
        (fishers(same=True), "those of the data"),
        (fishers(plain=True), "the π is missing"),
        (fishers(middle=torch.diag_embed), "diag(π) alone"),
        (fishers(middle=lambda pi: torch.eye(pi.shape[1]).expand(len(pi), -1, -1)), "mean of J'J"),
        (lambda J, pi, y: fishers()(J, torch.full_like(pi, 1 / pi.shape[1]), y), "The Fisher is"),
        (lambda J, pi, y: fishers()(J, pi, pi.argmax(1)), "The empirical Fisher is"),
        (drawn_labels, "The Fisher is"),
        (lambda J, pi, y: fishers()(J, pi, y)[0], "pair"),
    ],
    "07.colleague": [
        (("G", lambda s: ((1 - s**2) / 3) ** 0.5), "always right"),
        (("F", lambda s: ((1 - s**2) / 3) ** 0.5), "always right"),
        (("E and G", lambda s: ((1 - s**2) / 3) ** 0.5), "one of the letters"),
        (("E", lambda s: (1 - s**2) / 3), "square of the distance"),
        (("E", lambda s: (1 - s**2) ** 0.5), "mean of x⁴"),
        (("E", lambda s: 3**-0.5), "noise is missing"),
        (("E", lambda s: ((1 - s) / 3) ** 0.5), "its variance"),
        (("E", lambda s: ((1 + s**2) / 3) ** 0.5), "gets smaller"),
        (("E", 0.574), "a function"),
        ("E", "pair"),
    ],
}
