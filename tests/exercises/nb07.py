"""Answers to the exercises of notebook 07."""

import torch
from answers import Shown, record


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
        E = F if same else g.T @ g / n
        return (E, F) if swap else (scale_f * F, scale_e * E)

    return answer


SOLUTIONS = {"07.agree": after("squared error", 16, 200, 0.006)}

MISTAKES = {
    "07.agree": [
        (after("cross-entropy", 16, 200, 0.36), "take the other loss"),
        (after("squared error", 16, 20, 0.1), "train on"),
        (after("squared error", 4, 300, 0.07), "So few hidden units"),
        (after("squared error", 0, 0, 0.0), "too easy"),
        (0.01, "the panel itself"),
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
        (lambda f, loss, t, v: loss(f(t)), "shape (24,)"),
        (in_place, "v in place"),
    ],
    "07.fishers": [
        (fishers(swap=True), "other way round"),
        (fishers(scale_f=6), "F is a mean"),
        (fishers(scale_e=6), "E is a mean"),
        (fishers(mean=True), "outer product of the mean"),
        (fishers(same=True), "those of the data"),
        (fishers(plain=True), "the π is missing"),
        (fishers(middle=torch.diag_embed), "diag(π) alone"),
        (fishers(middle=lambda pi: torch.eye(3).expand(len(pi), 3, 3)), "mean of J'J"),
        (lambda J, pi, y: fishers()(J, torch.full_like(pi, 1 / 3), y), "The Fisher is"),
        (lambda J, pi, y: fishers()(J, pi, y)[0], "as a pair"),
    ],
}
