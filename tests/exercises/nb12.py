"""Answers to the exercises of notebook 12."""

import numpy as np
import torch
from answers import Shown, record


def run(unmoved, losses, *, zeros=0.0, kind="L1-SP", strength=3e-3):
    last = {"unmoved": unmoved, "zeros": zeros}
    values = {"kind": kind, "strength": strength, "labels": "20 % wrong", "method": "RLHF"}
    return Shown([record(val_loss=loss, extra=last) for loss in losses], values)


def l2sp(theta, start, lambda_reg, v):
    d = theta - start
    return lambda_reg * d @ d / 2, lambda_reg * d, lambda_reg * v


def products(loss, draw, theta, vectors, masks=None):
    mask = draw()
    return torch.stack([product(loss, mask, theta, v) for v in vectors])


def product(loss, mask, theta, v):
    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(loss(x, mask), x, create_graph=True)
    return torch.autograd.grad(g @ v, x)[0]


def new_masks(loss, draw, theta, vectors):
    return torch.stack([product(loss, draw(), theta, v) for v in vectors])


def no_mask(loss, draw, theta, vectors):
    return torch.stack([product(loss, torch.ones(4).double(), theta, v) for v in vectors])


KEPT = []


def kept_for_ever(loss, draw, theta, vectors):
    if not KEPT or KEPT[0] is not loss.__self__:
        KEPT[:] = [loss.__self__, draw()]
    return torch.stack([product(loss, KEPT[1], theta, v) for v in vectors])


def by_autograd(theta, start, lambda_reg, v):
    def value(x):
        return lambda_reg / 2 * (x - start).square().sum()

    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(value(x), x)
    return value(theta), g, torch.autograd.functional.hvp(value, theta, v)[1]


def by_numpy(theta, start, lambda_reg, v):
    d = (theta - start).numpy()
    return np.float64(lambda_reg / 2 * (d**2).sum()), lambda_reg * d, lambda_reg * v.numpy()


def by_dense(loss, draw, theta, vectors):
    mask = draw()
    return vectors @ torch.autograd.functional.hessian(lambda t: loss(t, mask), theta)


def two_masks(loss, draw, theta, vectors):
    one, other = draw(), draw()
    return torch.stack(
        [product(loss, one if i else other, theta, v) for i, v in enumerate(vectors)]
    )


def gauss_newton_like(loss, draw, theta, vectors):
    mask = draw()
    x = theta.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(loss(x, mask), x)
    return torch.stack([(g @ v) * g for v in vectors])


RIGHT = {
    "12.few_changes": [
        run(0.95, [0.69, 0.67]),
        run(0.999, [0.69, 0.66, 0.67], strength=2e-3),
        run(0.97, [0.69, 0.60, 0.64], strength=1e-3),
    ],
    "12.l2sp": [lambda *a: list(l2sp(*a)), by_autograd, by_numpy],
    "12.one_mask": [
        by_dense,
        lambda *a: products(*a).numpy(),
        lambda loss, d, t, V: list(products(loss, d, t, V)),
    ],
}

SOLUTIONS = {"12.few_changes": run(0.99, [0.69, 0.64])}

MISTAKES = {
    "12.few_changes": [
        (run(0.0, [0.69, 0.64], zeros=0.97, kind="group lasso"), "wrong centre"),
        (run(0.0, [0.69, 0.64], kind="L2-SP"), "has a kink"),
        (run(0.80, [0.69, 0.64], strength=1e-4), "a stronger pull"),
        (run(0.97, [0.69, 0.60, 0.68], strength=1e-3), "above its least"),
        (run(1.0, [0.69, 0.69], strength=1.0), "hardly anything moved"),
        (0.95, "the panel itself"),
    ],
    "12.l2sp": [
        (lambda t, s, w, v: (2 * l2sp(t, s, w, v)[0], *l2sp(t, s, w, v)[1:]), "lacks its ½"),
        (lambda t, s, w, v: l2sp(t, 0 * s, w, v), "pulls to zero"),
        (lambda t, s, w, v: (l2sp(t, s, w, v)[0], 2 * w * (t - s), w * v), "factor 2 too many"),
        (lambda t, s, w, v: (*l2sp(t, s, w, v)[:2], w * (t - s)), "not with θ − θ₀"),
        (lambda t, s, w, v: (*l2sp(t, s, w, v)[:2], v), "took the identity"),
        (lambda t, s, w, v: l2sp(t, s, w, v)[:2], "triple"),
        (lambda t, s, w, v: (l2sp(t, s, w, v)[0], -w * (t - s), w * v), "points the wrong way"),
        (lambda t, s, w, v: (*l2sp(t, s, w, v)[:2], w * v @ v), "one number"),
    ],
    "12.one_mask": [
        (new_masks, "with one matrix"),
        (no_mask, "left out"),
        (lambda loss, d, t, V: products(loss, d, t, V).T, "are the columns"),
        (kept_for_ever, "another step"),
        (two_masks, "2 masks were drawn"),
        (gauss_newton_like, "The products"),
    ],
}
