"""Answers to the exercises of notebook 09."""

import torch
from answers import Shown, record

cross_entropy = torch.nn.functional.cross_entropy


def ended(objective, *, damping=0.1, max_iter=5, batch=100, steps=27):
    values = {"lambda_reg": 0.001, "damping": damping, "max_iter": max_iter, "batch": batch}
    last = record(step=steps, train_loss=objective, extra={"adam": 0.129})
    return Shown([last], values)


def mended(model, batches):
    inputs, labels = next(batches)

    def closure():
        logits = model(inputs)
        return cross_entropy(logits, labels), logits

    return closure


def still_inside(model, batches):
    return lambda: mended(model, batches)()


def stored(model, batches):
    result = mended(model, batches)()
    return lambda: result


def loss_alone(model, batches):
    closure = mended(model, batches)
    return lambda: closure()[0]


def summed(model, batches):
    inputs, labels = next(batches)

    def closure():
        logits = model(inputs)
        return cross_entropy(logits, labels, reduction="sum"), logits

    return closure


class Forever:
    """Keeps the first batch for all steps."""

    def __init__(self):
        self.batch = None

    def __call__(self, model, batches):
        self.batch = self.batch or next(batches)
        return mended(model, iter([self.batch]))


def bill(products, evaluations, share, *, first=1.0, trial=1 / 3, product=4 / 3, graph=1.0):
    return first + trial * evaluations + share * (graph + product * products)


SOLUTIONS = {"09.close_to_adam": ended(0.1313)}

MISTAKES = {
    "09.close_to_adam": [
        (ended(0.588, damping=1.0, max_iter=30, batch=1000, steps=4), "fewer"),
        (ended(0.15, max_iter=30), "lower the cap"),
        (ended(0.14, damping=5.0), "start lower"),
        (ended(0.16, damping=0.003), "reckless"),
        (ended(0.138, batch=200), "factors of two"),
        (0.13, "the panel itself"),
    ],
    "09.promise": [
        (lambda q, mu, d: -q, "damped model"),
        (lambda q, mu, d: q - 0.5 * mu * d @ d, "a decrease"),
        (lambda q, mu, d: -q - 0.5 * mu * d @ d, "wrong sign"),
        (lambda q, mu, d: -q + mu * d @ d, "½ before"),
        (lambda q, mu, d: -q + 0.5 * mu * d.norm(), "square of the length"),
        (lambda q, mu, d: q + 0.5 * mu * d @ d, "keeps its sign"),
        (lambda q, mu, d: -q + 0.5 * d @ d, "μ is missing"),
        (lambda q, mu, d: -q + 0.5 * mu * d, "a number"),
    ],
    "09.planted_bug": [
        (("A", mended), "replays"),
        (("c", mended), "keeps to it"),
        (("both", mended), "one of the letters"),
        (("B", still_inside), "still gives another value"),
        (("B", stored), "follow the weights"),
        (("B", loss_alone), "(loss, outputs)"),
        (("B", summed), "mean cross-entropy"),
        (("B", Forever()), "same batch"),
        (("B", lambda model, batches: mended(model, batches)()), "return a closure"),
        ("B", "two things"),
    ],
    "09.cost": [
        (lambda k, e, s: bill(k, e, s, first=0), "in front"),
        (lambda k, e, s: bill(k, e, s, trial=1), "forward pass only"),
        (lambda k, e, s: bill(k, e, s, trial=0), "missing"),
        (lambda k, e, s: bill(k, e, s, graph=0), "graph of its own"),
        (lambda k, e, s: bill(k, e, 1), "multiply them"),
        (lambda k, e, s: bill(k, e, s, product=2), "Hessian"),
        (lambda k, e, s: bill(k, e, s, product=1), "not 1"),
        (lambda k, e, s: 1 + e / 3 + s + 4 / 3 * k, "not only the graph"),
        (lambda k, e, s: 2 + e / 3 + s * 4 / 3 * k, "not only the products"),
        (lambda k, e, s: 1 + s * (e / 3 + 1 + 4 / 3 * k), "on all samples"),
    ],
}
