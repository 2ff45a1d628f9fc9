"""Checks of notebook 09."""

from __future__ import annotations

from itertools import count

import torch

from rlhf_lib.optimizer import RLHFOptimizer

from ..checking.expect import call, expect, randn
from ..checking.feedback import attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb09_digits import SAMPLES, WEIGHT

CLOSE = 1.05  # of the tuned Adam's objective


@goal("09.close_to_adam", lambda_reg=WEIGHT)
def close_to_adam(records, values):
    """An objective within 5 % of the tuned Adam's, which the records carry, at lambda = 0.001."""
    last = records[-1]
    gap = last.train_loss / last.extra["adam"] - 1
    where = f"It ends {gap:.0%} above Adam, after {last.step} steps. "
    require(
        gap <= CLOSE - 1 or values["batch"] < SAMPLES / 2,
        where + "Nearly all was spent on curvature from (nearly) all images: take it from fewer.",
    )
    require(
        gap <= CLOSE - 1 or values["max_iter"] <= 12,
        where + "Most was spent on the later products of each solve: lower the cap.",
    )
    require(
        gap <= CLOSE - 1 or values["damping"] < 1,
        where + "The first steps are held back by too much damping: start lower.",
    )
    require(
        gap <= CLOSE - 1 or values["damping"] >= 0.03,
        where + "With so little damping at the start the first steps are reckless: start higher.",
    )
    require(
        gap <= CLOSE - 1,
        where + "You are close: vary the curvature batch and the cap by factors of two.",
    )
    end = "below" if gap < 0 else "above"
    return correct(
        f"{abs(gap):.0%} {end} Adam's objective, in {last.step} steps to Adam's 600: a lean step "
        "takes its curvature from few images and few products."
    )


@exercise("09.promise")
def promise(answer):
    """A function (q, mu, d) -> promised decrease of the undamped model, q = d'Ad/2 - b'd."""
    for case in range(3):
        root, b, d = randn(6, 6, seed=case), randn(6, seed=case + 10), randn(6, seed=case + 20)
        B, mu = root @ root.T, (0.7, 2.0, 5.0)[case]
        damped = B + mu * torch.eye(6)
        q = float(0.5 * torch.dot(d, torch.mv(damped, d)) - torch.dot(b, d))
        length2 = float(d.square().sum())
        expect(
            call(answer, q, mu, d),
            torch.dot(b, d) - 0.5 * torch.dot(d, torch.mv(B, d)),
            {
                "That is the promise of the damped model: take ½ μ|d|² out of q.": -q,
                "That is what the undamped model rises by: the promise is a decrease.": q
                - 0.5 * mu * length2,
                "μ has the wrong sign: q has ½ μ|d|² too much, so −q has it too little.": -q
                - 0.5 * mu * length2,
                "The ½ before μ|d|² is missing.": -q + mu * length2,
                "|d|² is wanted, the square of the length.": -q + 0.5 * mu * length2**0.5,
                "q keeps its sign here, but it is negative where the model falls: −q.": q
                + 0.5 * mu * length2,
                "μ is missing: ½ μ|d|², not ½ |d|².": -q + 0.5 * length2,
            },
            "Write out q with A = B + μI and compare it with the promise, term by term.",
            what="promised decrease",
            rtol=1e-8,
        )
    return correct("CG has computed all that the promise needs: ρ costs one forward pass.")


@exercise("09.planted_bug")
def planted_bug(answer):
    """A pair: the letter of the suspect, and a function (model, batches) -> closure."""
    pair = attempted(answer)
    require(
        isinstance(pair, tuple | list) and len(pair) == 2,
        "Answer with two things: the letter, and your function.",
    )
    letter, mended = attempted(pair)
    letter = str(letter).strip().upper()
    require(
        letter != "A",
        "A's units are switched off at random, but look at its ρ: it is as good as C's. "
        "`G.task.value()` replays torch's random numbers within a step.",
    )
    require(letter != "C", "C draws one batch for a step and keeps to it; its ρ is sound.")
    require(letter == "B", 'Answer with one of the letters "A", "B" and "C".')
    _try_closures(mended)
    return correct("One step, one function: a batch drawn before the closure serves all its calls.")


def _try_closures(mended):
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    drawn = []

    def stream():
        for seed in count():
            drawn.append((randn(7, 5, seed=seed), torch.arange(7) % 3))
            yield drawn[-1]

    batches = stream()
    closure = _made(mended, model, batches)
    pairs = []
    for _ in range(3):
        loss, outputs = _pair(closure)
        pairs.append((loss, outputs))
    require(
        len(drawn) <= 1 or torch.equal(pairs[0][0], pairs[1][0]),
        "Your closure still gives another value at each call: the batch is drawn inside it.",
    )
    require(drawn, "No batch was drawn: take one with next(batches).")
    inputs, labels = drawn[-1]
    truth = torch.nn.functional.cross_entropy(model(inputs), labels)
    require(
        torch.allclose(pairs[0][0], truth),
        "Its loss is not the mean cross-entropy of the batch that was drawn.",
    )
    with torch.no_grad():
        model[0].weight += 0.1
    moved = torch.nn.functional.cross_entropy(model(inputs), labels)
    require(
        torch.allclose(_pair(closure)[0], moved),
        "The loss does not follow the weights: compute it inside the closure, at each call; only "
        "the batch is drawn outside.",
    )
    before = len(drawn)
    following = _pair(_made(mended, model, batches))[0]
    require(
        len(drawn) > before and not torch.allclose(following, moved),
        "The next step's closure sees the same batch: draw a new one in each call of mended.",
    )


def _made(mended, model, batches):
    require(callable(mended), "The second thing should be a function of (model, batches).")
    closure = attempted(mended(model, batches))
    require(callable(closure), "mended should return a closure, a function without arguments.")
    return closure


def _pair(closure):
    result = attempted(closure())
    require(
        isinstance(result, tuple | list) and len(result) == 2,
        "The closure should return (loss, outputs), as the three suspects' do.",
    )
    return result


@exercise("09.cost")
def cost(answer):
    """A function (products, evaluations, share) -> gradients, compared with the library's bill."""
    for products, share, damping in ((4, 0.3, 1.0), (7, 0.5, 1e-4), (5, 0.1, 1e-4)):
        bill, evaluations = _one_step(products, share, damping)
        expect(
            call(answer, products, evaluations, share),
            bill,
            {
                "The gradient over all samples is missing, the 1 in front.": bill - 1,
                "A trial point is a forward pass only: a third of a gradient.": bill
                + 2 / 3 * evaluations,
                "The trial points are missing.": bill - evaluations / 3,
                "The curvature batch needs a graph of its own, one gradient's worth of it.": bill
                - share,
                "The products are taken on the curvature batch: multiply them by the share.": bill
                + (1 - share) * (1 + 4 / 3 * products),
                "A product with G costs 4/3; 2 is the price of one with the Hessian.": bill
                + share * 2 / 3 * products,
                "A product with G costs 4/3 gradients, not 1.": bill - share / 3 * products,
                "The share multiplies the products, too, not only the graph.": bill
                + (1 - share) * 4 / 3 * products,
                "The share multiplies the graph, too, not only the products.": bill + 1 - share,
                "The trial points are evaluated on all samples, not on the share.": bill
                - (1 - share) * evaluations / 3,
            },
            "See equation (3).",
            what="cost",
        )
    return correct("You charge what the library charges; now you can read a bill before paying it.")


def _one_step(products, share, damping):
    """(cost in gradients of all samples, trial points) of a step, as the optimizer has them."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    inputs, labels = randn(40, 6), torch.arange(40) % 4
    size, calls = int(share * 40), []

    def closure(batch):
        calls.append(len(batch[1]))
        logits = model(batch[0])
        return torch.nn.functional.cross_entropy(logits, batch[1]), logits

    optimizer = RLHFOptimizer(
        model.parameters(), regularizer=None, damping=damping, max_iter=products, rtol=0.0
    )
    part = (inputs[:size], labels[:size])
    before = 0.0
    for _ in range(2):  # the first one looks at the closure, too
        before = optimizer.record.cost if optimizer.record else before
        calls.clear()
        optimizer.step(closure, batches=[(inputs, labels)], curvature_batches=[part])
    return (optimizer.record.cost - before) / 40, calls.count(40) - 1
