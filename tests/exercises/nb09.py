"""Answers to the exercises of notebook 09."""

from functools import partial
from statistics import fmean

import numpy as np
import torch
from answers import Shown, record

from rlhf_course.checks.nb09 import batched_ends

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


def with_outputs(change):
    """A right loss, and outputs that were changed."""

    def make(model, batches):
        closure = mended(model, batches)

        def changed():
            loss, logits = closure()
            return loss, change(logits)

        return changed

    return make


def detached(model, batches):
    closure = mended(model, batches)
    return lambda: tuple(value.detach() for value in closure())


def without_graph(model, batches):
    return torch.no_grad()(mended(model, batches))


def half_detached(model, batches):
    """The right value, and a gradient of the last layer alone."""
    inputs, labels = next(batches)

    def closure():
        logits = model[2](model[1](model[0](inputs)).detach())
        return cross_entropy(logits, labels), logits

    return closure


def run_twice(model, batches):
    inputs, labels = next(batches)
    return lambda: (cross_entropy(model(inputs), labels), model(inputs))


def with_backward(model, batches):
    closure = mended(model, batches)

    def stepping():
        loss, logits = closure()
        loss.backward(retain_graph=True)
        return loss, logits

    return stepping


def like_a(model, batches):
    closure = mended(model, batches)

    def training():
        model.train()
        return closure()

    return training


def same_images(model, batches):
    """C's: images of its own, the same for all steps."""
    inputs, labels = torch.ones(6, model[0].in_features), torch.arange(6) % 3
    return mended(model, iter([(inputs, labels)]))


def two_drawn(model, batches):
    next(batches)
    return mended(model, batches)


class Shared:
    """All closures look at the newest batch."""

    def __call__(self, model, batches):
        self.batch = next(batches)
        return lambda: mended(model, iter([self.batch]))()


class AtFirstCall:
    """Draws when it is called for the first time, and keeps to that."""

    def __init__(self, model, batches):
        self.model, self.batches, self.batch = model, batches, None

    def __call__(self):
        self.batch = self.batch or next(self.batches)
        logits = self.model(self.batch[0])
        return [torch.nn.functional.nll_loss(logits.log_softmax(1), self.batch[1]), logits]


def by_default_argument(model, batches):
    def closure(batch=next(batches)):  # noqa: B008
        logits = model(batch[0])
        chosen = logits.gather(1, batch[1][:, None])[:, 0]
        return (logits.logsumexp(1) - chosen).mean(), logits

    return closure


def by_partial(model, batches):
    def loss(batch):
        return cross_entropy(z := model(batch[0]), batch[1]), z

    return partial(loss, next(batches))


class Forever:
    """Keeps the first batch for all steps."""

    def __init__(self):
        self.batch = None

    def __call__(self, model, batches):
        self.batch = self.batch or next(batches)
        return mended(model, iter([self.batch]))


def bill(products, evaluations, share, *, first=1.0, trial=1 / 3, product=4 / 3, graph=1.0):
    return first + trial * evaluations + share * (graph + product * products)


class Ends:
    """A number made of the three ends, which are measured when it is first read."""

    shape = ()

    def __init__(self, made):
        self.made = made

    def __float__(self):
        return float(self.made(batched_ends()))


SOLUTIONS = {"09.close_to_adam": ended(0.1313), "09.batched": Ends(fmean)}

RIGHT = {
    "09.close_to_adam": [
        ended(0.1354, batch=80),
        ended(0.12, damping=0.3),
        ended(0.13, max_iter=4),
    ],
    "09.promise": [
        lambda q, mu, d: mu / 2 * d.square().sum().item() - q,
        lambda q, mu, d: np.float64(-q + mu * np.dot(d.numpy(), d.numpy()) / 2),
        lambda q, mu, d: -(q - sum(mu * x * x / 2 for x in d.tolist())),
    ],
    "09.planted_bug": [("B", AtFirstCall), ["b", by_default_argument], (" B ", by_partial)],
    "09.batched": [
        Ends(lambda ends: round(fmean(ends), 4)),
        Ends(lambda ends: torch.tensor(ends).mean()),
        Ends(np.mean),
    ],
    "09.cost": [
        lambda k, e, s: (3 + e + s * (3 + 4 * k)) / 3,
        lambda k, e, s: torch.tensor(1 + e / 3 + s + 4 * s * k / 3),
        lambda k, e, s: np.dot([1, e, s, s * k], [1, 1 / 3, 1, 4 / 3]),
    ],
}

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
        (lambda q, mu, d: q + 0.5 * mu * d @ d, "−q"),
        (lambda q, mu, d: abs(q) + 0.5 * mu * d @ d, "−q"),
        (lambda q, mu, d: -q + 0.5 * d @ d, "μ is missing"),
        (lambda q, mu, d: -q + 0.5 * mu * d, "a number"),
    ],
    "09.planted_bug": [
        (("A", mended), "replays"),
        (("c", mended), "by heart"),
        (("both", mended), "one of the letters"),
        (("B", still_inside), "still gives another value"),
        (("B", stored), "follow the weights"),
        (("B", loss_alone), "(loss, outputs)"),
        (("B", summed), "mean cross-entropy"),
        (("B", Forever()), "same batch"),
        (("B", lambda model, batches: mended(model, batches)()), "return a closure"),
        (("B", detached), "without a graph"),
        (("B", without_graph), "without a graph"),
        (("B", half_detached), "detached on the way"),
        (("B", with_outputs(lambda z: z.softmax(1))), "should be the logits"),
        (("B", with_outputs(lambda z: z.log_softmax(1))), "should be the logits"),
        (("B", with_outputs(lambda z: z.argmax(1))), "should be the logits"),
        (("B", with_outputs(lambda z: z.detach())), "without a graph"),
        (("B", run_twice), "from others"),
        (("B", with_backward), "calls backward()"),
        (("B", like_a), "model.train()"),
        (("B", same_images), "No batch was drawn"),
        (("B", two_drawn), "one is enough"),
        (("B", Shared()), "its own batch"),
        ("B", "pair"),
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
    "09.batched": [
        (0.1226, "all images"),  # size left at 1,000
        (0.1765, "too high"),  # batches of 100
        (Ends(sum), "not the mean"),
        (Ends(lambda ends: ends[0]), "one seed alone"),
        (Ends(lambda ends: fmean(ends[:2])), "two seeds"),
        (Ends(lambda ends: fmean(ends) + 3e-4), "with all of the memory"),
        (2.43, "too high"),  # the beginning of the run
        (0.1501, "with all of the memory"),
        (0.1281, "all images"),  # Adam's
        ([0.1395, 0.1368, 0.1426], "one number"),
    ],
}
