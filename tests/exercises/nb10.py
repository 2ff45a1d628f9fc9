"""Answers to the exercises of notebook 10."""

import torch
from answers import Shown, record


def held(lambda_reg, losses, reason="converged", steps=24, train=0.31, left=0.01, **values):
    """A run of the panel under the finger: its validation losses, spread over the steps."""
    losses = [losses[min(i * len(losses) // (steps + 1), len(losses) - 1)] for i in range(steps)]
    losses = [*losses, losses[-1]]
    records = [
        record(
            step=i,
            val_loss=loss,
            train_loss=0.387 + (train - 0.387) * i / steps,
            grad_norm=left ** (i / steps),
            reason=reason if i == steps else "",
        )
        for i, loss in enumerate(losses)
    ]
    setting = {"damping": 0.3, "steps": steps, "noise": 0.2, "sentences": 200, "place": "the probe"}
    return Shown(records, {"lambda_reg": lambda_reg} | setting | values)


def knobs(lambda_reg, losses, reason="converged", **values):
    """A run of the optimizer's own panel."""
    setting = {
        "lambda_reg": lambda_reg,
        "damping": 1.0,
        "max_iter": 8,
        "curvature": "Hessian H",
        "penalty": "L2 to the start",
    }
    return Shown([record(val_loss=loss, reason=reason) for loss in losses], setting | values)


def closure(model, x, y):
    outputs = model(x)
    return torch.nn.functional.cross_entropy(outputs, y), outputs


def with_backward(model, x, y):
    loss, outputs = closure(model, x, y)
    loss.backward(retain_graph=True)
    return loss, outputs


def summed(model, x, y):
    outputs = model(x)
    return torch.nn.functional.cross_entropy(outputs, y, reduction="sum"), outputs


def softmaxed(model, x, y):
    outputs = model(x).softmax(1)
    return torch.nn.functional.cross_entropy(outputs, y), outputs


def log_softmaxed(model, x, y):
    outputs = model(x).log_softmax(1)
    return torch.nn.functional.nll_loss(outputs, y), outputs


def asked_twice(model, x, y):
    return torch.nn.functional.cross_entropy(model(x), y), model(x)


def by_hand(model, x, y):
    outputs = model(x)
    chosen = outputs.gather(1, y[:, None])[:, 0]
    return [(outputs.logsumexp(1) - chosen).mean(), outputs]


def normalized(gradient, theta, v, eps):
    u = v / v.norm()
    return (gradient(theta + eps * u) - gradient(theta - eps * u)) / (2 * eps)


def by_autograd(gradient, theta, v, eps):
    return torch.autograd.functional.jvp(gradient, theta, v)[1]


def richardson(gradient, theta, v, eps):
    near, far = (central(gradient, theta, v, e) for e in (eps, 2 * eps))
    return (4 * near - far) / 3


def central(gradient, theta, v, eps):
    return (gradient(theta + eps * v) - gradient(theta - eps * v)) / (2 * eps)


def moved(gradient, theta, v, eps):
    theta += eps * v
    ahead = gradient(theta)
    return (ahead - gradient(theta - 2 * eps * v)) / (2 * eps)


SOLUTIONS = {
    "10.hold": held(1.0, [0.517, 0.510, 0.511], steps=11, left=1e-9),
    "10.hessian": knobs(1.0, [0.517, 0.503, 0.513, 0.518]),
}

RIGHT = {
    "10.hold": [
        held(10.0, [0.517, 0.513], steps=9, left=1e-9),
        held(1.0, [0.517, 0.515, 0.512], "max_steps"),
        held(2.0, [0.517, 0.505, 0.51], "max_steps", steps=30, damping=3.0),
    ],
    "10.hessian": [
        knobs(2.0, [0.517, 0.503, 0.51]),
        knobs(1.0, [0.517, 0.53, 0.56], damping=10.0),
        knobs(3.0, [0.517, 0.52, 0.52], "negative_curvature", damping=3.0),
    ],
    "10.closure": [
        by_hand,
        lambda m, x, y: dict(zip(("loss", "outputs"), closure(m, x, y), strict=True)),
        lambda m, x, y: list(closure(m, x, y)),
    ],
    "10.finite_difference": [
        lambda g, t, v, e: (g(t + e * v) - g(t - e * v)).numpy() / (2 * e),
        lambda g, t, v, e: (g(t + e * v) / 2 - g(t - e * v) / 2) / e,
        lambda g, t, v, e: (g(t + e * v) - g(t - e * v)).div(2 * e).tolist(),
    ],
}

SLOW = {"reason": "max_steps", "left": 0.8}
MISTAKES = {
    "10.hold": [
        (held(0.0, [0.517, 0.614, 0.866], "max_steps"), "nothing holds the weights"),
        (held(0.0, [0.517, 0.512, 0.511], **SLOW, damping=100.0), "nothing holds the weights"),
        (held(1e-3, [0.517, 0.512, 0.511], **SLOW, damping=100.0), "slow rather than held"),
        (held(1.0, [0.517, 0.512, 0.51], "max_steps", steps=5, left=0.3), "early stopping"),
        (held(0.1, [0.517, 0.55, 0.57]), "on its way up"),
        (held(1.0, [0.56, 0.55, 0.55]), "above 0.53"),
        (held(1e-9, [0.517, 0.512, 0.511], **SLOW), "slow rather than held"),
    ],
    "10.hessian": [
        (knobs(1.0, [0.517, 0.50, 0.58], "negative_curvature"), "more damping"),
        (knobs(0.0, [0.517, 0.55, 0.69]), "on its way up"),
        (knobs(10.0, [0.69, 0.67, 0.66]), "above 0.57"),
        (knobs(1.0, [0.517, 0.69, 0.69], penalty="L2 to zero"), "centred at zero"),
        (knobs(1e-4, [0.517, 0.51, 0.61], penalty="L1 to zero"), "centred at zero"),
        (knobs(0.1, [0.517, 0.50, 0.62]), "on its way up"),
    ],
    "10.closure": [
        (with_backward, "No backward"),
        (lambda m, x, y: closure(m, x, y)[0], "outputs, too"),
        (lambda m, x, y: closure(m, x, y)[::-1], "order"),
        (summed, "mean"),
        (softmaxed, "softmax"),
        (lambda m, x, y: tuple(t.detach() for t in closure(m, x, y)), "graph is cut"),
        (log_softmaxed, "linear, so H_L is 0"),
        (lambda m, x, y: (closure(m, x, y)[0], m(x).softmax(1)), "very outputs"),
        (asked_twice, "ask the model once"),
        (lambda m, x, y: (closure(m, x, y)[0].item(), m(x)), "graph is cut"),
        (lambda m, x, y: (*closure(m, x, y), y), "Return the pair"),
    ],
    "10.finite_difference": [
        (lambda g, t, v, e: -central(g, t, v, e), "sign"),
        (lambda g, t, v, e: 2 * central(g, t, v, e), "2ε apart"),
        (lambda g, t, v, e: 2 * e * central(g, t, v, e), "has yet to be divided"),
        (lambda g, t, v, e: e * central(g, t, v, e), "do not multiply"),
        (lambda g, t, v, e: (g(t + e * v) - g(t)) / e, "one-sided"),
        (moved, "theta in place"),
        (lambda g, t, v, e: central(g, t, v, 1e-5), "Nearer to H v"),
        (by_autograd, "took second derivatives"),
        (normalized, "as it is"),
        (richardson, "off by up to"),
        (lambda g, t, v, e: [g(t), central(g, t, v, e)][1], "you took 3"),
    ],
}
