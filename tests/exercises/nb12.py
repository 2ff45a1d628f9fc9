"""Answers to the exercises of notebook 12."""

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


SOLUTIONS = {"12.few_changes": run(0.99, [0.69, 0.64])}

MISTAKES = {
    "12.few_changes": [
        (run(0.0, [0.69, 0.64], zeros=0.97, kind="group lasso"), "wrong centre"),
        (run(0.0, [0.69, 0.64], kind="L2-SP"), "has a kink"),
        (run(0.80, [0.69, 0.64], strength=1e-4), "a stronger pull"),
        (run(0.97, [0.69, 0.60, 0.68], strength=1e-3), "above its least"),
        (run(1.0, [0.69, 0.69], strength=1.0), "hardly anything moved"),
    ],
    "12.l2sp": [
        (lambda t, s, w, v: (2 * l2sp(t, s, w, v)[0], *l2sp(t, s, w, v)[1:]), "lacks its ½"),
        (lambda t, s, w, v: l2sp(t, 0 * s, w, v), "pulls to zero"),
        (lambda t, s, w, v: (l2sp(t, s, w, v)[0], 2 * w * (t - s), w * v), "factor 2 too many"),
        (lambda t, s, w, v: (*l2sp(t, s, w, v)[:2], w * (t - s)), "not with θ − θ₀"),
        (lambda t, s, w, v: (*l2sp(t, s, w, v)[:2], v), "took the identity"),
        (lambda t, s, w, v: l2sp(t, s, w, v)[:2], "three things"),
    ],
    "12.one_mask": [
        (new_masks, "another matrix"),
        (no_mask, "left out"),
        (lambda loss, d, t, V: products(loss, d, t, V).T, "are the columns"),
        (kept_for_ever, "another step"),
    ],
}
