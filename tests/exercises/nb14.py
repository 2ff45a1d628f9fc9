"""Answers to the exercises of notebook 14."""

import torch
from answers import Shown, record
from torch.nn.functional import cross_entropy, kl_div


def after(megabytes, accuracy, *, way="bits", tables=True):
    last = {"megabytes": megabytes, "accuracy": accuracy, "whole": 0.86, "megabytes_whole": 90.9}
    return Shown([record(extra=last)], {"way": way, "tables": tables})


def cut(W1, b1, W2, keep):
    return W1[keep], b1[keep], W2[:, keep]


def others(b1, keep):
    return torch.tensor([i for i in range(len(b1)) if i not in keep])


def by_mask(W1, b1, W2, keep):
    mask = torch.zeros(len(b1), dtype=torch.bool)
    mask[keep] = True
    return W1[mask], b1[mask], W2[:, mask]


def silenced(W1, b1, W2, keep):
    mask = torch.zeros_like(b1)
    mask[keep] = 1
    return W1 * mask[:, None], b1 * mask, W2 * mask


def distilled(
    student, teacher, labels, T, alpha, *, power=2, hot=True, reverse=False, times=1, swap=False
):
    p, q = (student / T).log_softmax(1), (teacher / (T if hot else 1)).log_softmax(1)
    if reverse:
        p, q = q, p
    soft = times * kl_div(p, q, reduction="batchmean", log_target=True)
    if swap:
        alpha = 1 - alpha
    return alpha * T**power * soft + (1 - alpha) * cross_entropy(student, labels)


def wrong(**options):
    return lambda *arguments: distilled(*arguments, **options)


def centred(z):
    return z - z.mean(1, keepdim=True)


def soft_by_hand(student, teacher, labels, T, alpha):
    q, p = (teacher / T).softmax(1), (student / T).softmax(1)
    soft = (q * (q.log() - p.log())).sum(1).mean()
    hard = -student.log_softmax(1)[torch.arange(len(labels)), labels].mean()
    return alpha * T * T * soft + (1 - alpha) * hard


def by_cross_entropy(student, teacher, labels, T, alpha):
    q = (teacher / T).softmax(1)
    soft = cross_entropy(student / T, q) + (q * q.log()).sum(1).mean()
    return float(alpha * T**2 * soft + (1 - alpha) * cross_entropy(student, labels))


def by_variance(z, v):
    return ((z - v).var(1, correction=0) / 2).mean()


def at_large_temperature(z, v, T=1e5):
    p, q = (z / T).log_softmax(1), (v / T).log_softmax(1)
    return T**2 * kl_div(p, q, reduction="batchmean", log_target=True)


def scaled(W1, b1, W2, s):
    return s * W1, s * b1, W2 / s


def by_neuron(W1, b1, W2):
    s = [0.5 * float((W2.abs().min() / row.abs().max()) ** 0.5) for row in W1]
    s = torch.tensor([min(s)] * len(s))
    return s[:, None] * W1, s * b1, W2 / s


RIGHT = {
    "14.twin": [
        lambda W1, b1, W2: scaled(W1, b1, W2, 1e-4),
        by_neuron,
        lambda *a: [x.numpy() for x in scaled(*a, 0.001)],
    ],
    "14.small": [after(15.0, 0.83), after(8.0, 0.9), after(14.9, 0.86)],
    "14.neurons": [
        by_mask,
        lambda W1, b1, W2, k: [W1[k], b1[k], W2.T[k].T],
        lambda W1, b1, W2, k: tuple(x.numpy() for x in cut(W1, b1, W2, k)),
    ],
    "14.distillation": [soft_by_hand, by_cross_entropy, lambda *a: distilled(*a).numpy()],
    "14.limit": [
        by_variance,
        lambda z, v: float(by_variance(z, v)),
        lambda z, v: centred(z - v).square().mean(1).numpy().mean() / 2,
    ],
}

SOLUTIONS = {"14.small": after(11.7, 0.85)}

MISTAKES = {
    "14.twin": [
        (lambda W1, b1, W2: (1e-3 * W1, b1, 1e3 * W2), "The shift b1"),
        (lambda W1, b1, W2: (1e-3 * W1, 1e-3 * b1, W2), "make up for it"),
        (lambda W1, b1, W2: scaled(W1, b1, W2, -1e-3), "positive s only"),
        (lambda W1, b1, W2: scaled(W1, b1, W2, 0.9), "still mix"),
        (lambda W1, b1, W2: scaled(W1, b1, W2, 1e3), "still mix"),
        (lambda W1, b1, W2: (W1, b1, W2), "still mix"),
        (lambda W1, b1, W2: (0 * W1, 0 * b1, 2 * W2), "off by"),
        (lambda W1, b1, W2: (W1[::2], b1[::2], W2[:, ::2]), "take nothing out"),
        (lambda W1, b1, W2: (1e-3 * W1, 1e-3 * b1, 1e-3 * W2), "times what it should be"),
        (lambda W1, b1, W2: scaled(W1, b1, W2, 1e-3)[::2], "triple"),
    ],
    "14.small": [
        (after(62.1, 0.85, way="by curvature"), "no fraction"),
        (after(58.7, 0.86, tables=False), "still in floats"),
        (after(23.1, 0.86), "fewer bits"),
        (after(6.1, 0.58), "too few bits"),
        (after(15.1, 0.86), "fewer bits"),
        (after(14.0, 0.82), "too few bits"),
    ],
    "14.neurons": [
        (silenced, "take them out"),
        (lambda W1, b1, W2, k: (W1[others(b1, k)], b1[k], W2[:, k]), "neurons to keep"),
        (lambda W1, b1, W2, k: (W1[k], b1, W2[:, k]), "b1 is still whole"),
        (lambda W1, b1, W2, k: (W1[k], b1[k], W2), "W2 is still whole"),
        (lambda W1, b1, W2, k: (W1[k], b1[k]), "triple"),
        (lambda W1, b1, W2, k: cut(W1, b1, W2, torch.tensor([0, 2, 5])), "W1"),
        (lambda W1, b1, W2, k: cut(W1, b1, W2, k.flip(0)), "W1"),
    ],
    "14.distillation": [
        (wrong(power=0), "τ² is missing"),
        (wrong(power=1), "τ stands where"),
        (wrong(reverse=True), "other way round"),
        (wrong(hot=False), "divided by τ, too"),
        (wrong(swap=True), "exchanged"),
        (wrong(times=1 / 3), "divides by the classes"),
        (wrong(times=5), "sum over samples"),
        (
            lambda s, t, y, T, a: distilled(s, t, y, T, a) - (1 - a) * cross_entropy(s, y),
            "part is missing",
        ),
    ],
    "14.limit": [
        (lambda z, v: (z - v).square().sum(1).mean() / 8, "mean away first"),
        (lambda z, v: (centred(z) - centred(v)).square().sum(1).mean() / 4, "½ is missing"),
        (lambda z, v: (centred(z) - centred(v)).square().sum(1).mean() / 2, "number of classes"),
        (lambda z, v: (centred(z) - centred(v)).square().sum() / 8, "over the samples"),
        (
            lambda z, v: (centred(z) - centred(v)).norm(dim=1).mean() / (2 * z.shape[1]),
            "its square",
        ),
        (at_large_temperature, "off by"),
    ],
}
