"""Checks of notebook 09."""

from __future__ import annotations

from functools import cache
from itertools import combinations, count
from statistics import fmean

import torch

from rlhf_lib.optimizer import RLHFOptimizer

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb09_digits import SAMPLES, WEIGHT
from ..studies.nb09_grid import digits

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
        n, mu = integer(4, 9, seed=case), uniform(1.5, 6.0, seed=case)
        root, b, d = randn(n, n, seed=case), randn(n, seed=case + 10), randn(n, seed=case + 20)
        B = root @ root.T
        damped = B + mu * torch.eye(n)
        q = float(0.5 * torch.dot(d, torch.mv(damped, d)) - torch.dot(b, d))
        length2 = float(d.square().sum())
        expect(
            call(answer, q, mu, d),
            torch.dot(b, d) - 0.5 * torch.dot(d, torch.mv(B, d)),
            {
                "That is the promise of the damped model: take ½ μ‖d‖² out of q.": -q,
                "That is what the undamped model rises by: the promise is a decrease.": q
                - 0.5 * mu * length2,
                "μ has the wrong sign: q has ½ μ‖d‖² too much, so −q has it too little.": -q
                - 0.5 * mu * length2,
                "The ½ before μ‖d‖² is missing.": -q + mu * length2,
                "‖d‖² is wanted, the square of the length.": -q + 0.5 * mu * length2**0.5,
                "Not |q| but −q: a d that does not come from CG may have q > 0.": abs(q)
                + 0.5 * mu * length2
                if q > 0
                else None,
                "q keeps its sign here, but it is negative where the model falls: −q.": q
                + 0.5 * mu * length2
                if q < 0
                else None,
                "μ is missing: ½ μ‖d‖², not ½ ‖d‖².": -q + 0.5 * length2,
            },
            "Write out q with A = B + μI and compare it with the promise, term by term.",
            what="promised decrease",
            rtol=1e-8,
        )
    return correct("CG has computed all that the promise needs: ρ costs one forward pass.")


@exercise("09.planted_bug")
def planted_bug(answer):
    """A pair: the letter of the suspect, and a function (model, batches) -> closure."""
    letter, mended = parts(answer, "(letter, function)")
    letter = str(letter).strip().upper()
    require(
        letter != "A",
        "A's units are switched off at random, but look at its ρ: it is as good as C's. "
        "`G.task.value()` replays torch's random numbers within a step.",
    )
    require(
        letter != "C",
        "C takes the same images for all steps and will learn them by heart, but within a step its "
        "function stays what it is: its ρ is sound.",
    )
    require(letter == "B", 'Answer with one of the letters "A", "B" and "C".')
    for case in range(2):
        _try_closures(mended, case)
    return correct("One step, one function: a batch drawn before the closure serves all its calls.")


def _try_closures(mended, case: int):
    n, inputs, hidden, classes = (
        integer(low, low + 5, seed=10 * case + k) for k, low in enumerate((5, 3, 3, 3))
    )
    model = torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, classes)
    ).eval()
    drawn = []

    def stream():
        for seed in count(100 * case):
            drawn.append((randn(n, inputs, seed=seed), torch.arange(n) % classes))
            yield drawn[-1]

    batches = stream()
    closure = _made(mended, model, batches)
    first, again = (_pair(closure)[0] for _ in range(2))
    require(
        torch.equal(first, again),
        "Your closure still gives another value at each call: the batch is drawn inside it.",
    )
    require(drawn, "No batch was drawn: take one with next(batches).")
    _is_the_loss(closure, model, drawn[-1])
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
    moved = torch.nn.functional.cross_entropy(model(drawn[-1][0]), drawn[-1][1])
    require(
        torch.allclose(_pair(closure)[0], moved),
        "The loss does not follow the weights: compute it inside the closure, at each call; only "
        "the batch is drawn outside.",
    )
    require(len(drawn) == 1, f"{len(drawn)} batches were drawn for one step; one is enough.")
    following = _made(mended, model, batches)
    value = _pair(following)[0]
    require(
        len(drawn) > 1 and not torch.allclose(value, moved),
        "The next step's closure sees the same batch: draw a new one in each call of mended.",
    )
    _is_the_loss(following, model, drawn[-1])
    require(
        torch.allclose(_pair(closure)[0], moved),
        "The closure of the last step gives another value once the next one is made: each keeps "
        "its own batch.",
    )


def _is_the_loss(closure, model, batch):
    """Value, outputs, and both as a graph: the gradient, and the slope at the outputs."""
    inputs, labels = batch
    before = [p.detach().clone() for p in model.parameters()]
    loss, outputs = _pair(closure)
    require(
        all(map(torch.equal, before, model.parameters())),
        "Your closure changes the weights; that is the optimizer's job.",
    )
    require(
        all(p.grad is None for p in model.parameters()),
        "Your closure calls backward(): the optimizer takes its gradient itself, from the graph.",
    )
    require(
        not model.training,
        "Your closure calls model.train(): that is for A's dropout. Leave the model's mode alone.",
    )
    logits = model(inputs)
    truth = torch.nn.functional.cross_entropy(logits, labels)
    require(
        isinstance(loss, torch.Tensor) and loss.shape == () and torch.allclose(loss, truth),
        "Its loss is not the mean cross-entropy of the batch that was drawn.",
    )
    require(
        isinstance(outputs, torch.Tensor)
        and outputs.shape == logits.shape
        and torch.allclose(outputs, logits),
        "The outputs should be the logits, model(inputs): G needs the curvature of the loss in "
        "them.",
    )
    require(
        loss.requires_grad and outputs.requires_grad,
        "Loss and outputs came without a graph: detach(), item() or no_grad leaves nothing to take "
        "gradients and products from.",
    )
    slopes = [
        torch.autograd.grad(value, [z, *model.parameters()], allow_unused=True)
        for value, z in ((loss, outputs), (truth, logits))
    ]
    require(
        slopes[0][0] is not None,
        "The loss was not computed from these outputs but from others: run the model once, and "
        "return what the loss was made of.",
    )
    require(
        all(a is not None and torch.allclose(a, b) for a, b in zip(*slopes, strict=True)),
        "The value is right and its gradient is not: something was detached on the way.",
    )


def _made(mended, model, batches):
    require(callable(mended), "The second thing should be a function of (model, batches).")
    closure = attempted(mended(model, batches))
    require(callable(closure), "mended should return a closure, a function without arguments.")
    return closure


def _pair(closure):
    return parts(closure(), "(loss, outputs)")


@exercise("09.cost")
def cost(answer):
    """A function (products, evaluations, share) -> gradients, compared with the library's bill."""
    for case, damping in enumerate((1.0, 1e-4, 1e-4)):
        products, share = integer(3, 8, seed=case), integer(8, 30, seed=case + 10) / 40
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
            "See equation (4).",
            what="cost",
        )
    return correct("You charge what the library charges; now you can read a bill before paying it.")


def _one_step(products, share, damping):
    """(cost in gradients of all samples, trial points) of a step, as the optimizer has them."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    inputs, labels = randn(40, 6), torch.arange(40) % 4
    size, calls = round(share * 40), []

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


@cache
def batched_ends() -> tuple[float, ...]:
    """Objectives at which L-BFGS with batches of 250 ends on this machine, seeds 0 to 2."""

    def lbfgs(params):
        return torch.optim.LBFGS(
            params, max_iter=5, history_size=100, line_search_fn="strong_wolfe"
        )

    runs = (digits().first_order(lbfgs, seed, size=250) for seed in range(3))
    return tuple(float(run[-1].train_loss) for run in runs)


@exercise("09.batched")
def batched(answer):
    """The objective at which L-BFGS with batches of 250 ends, mean over the seeds 0, 1 and 2."""
    value = attempted(answer)
    require(
        isinstance(value, float | int) or getattr(value, "shape", None) == (),
        "Expected one number, the mean of three seeds.",
    )
    value, ends = float(value), batched_ends()
    truth = fmean(ends)
    slips = {  # within the fourth digit, unlike the mean of two seeds
        "That is the sum, not the mean.": [3 * truth],
        "That is one seed alone; the mean of three is asked for.": ends,
        "That is the mean of two seeds; there are three.": [
            fmean(pair) for pair in combinations(ends, 2)
        ],
    }
    if abs(value - truth) > 1e-4:
        for hint, ends in slips.items():
            require(min(abs(value - end) for end in ends) > 1e-4, hint)
    require(
        value > 0.93 * truth,
        f"{value:.4f} is where it ends with all images, or lower: do the batches hold 250?",
    )
    require(
        value < 1.1 * truth,
        f"{value:.4f} is too high for 250 images at the end of 60 gradients: smaller batches, a shorter "
        "memory, or not the end of the run?",
    )
    require(
        abs(value - truth) <= 1e-4,
        f"{value:.4f} is near, but not the mean of the seeds 0, 1 and 2 with all of the memory.",
    )
    return correct(
        f"{value:.3f}, above its end with all images: a pair (s, y) from two batches tells of more "
        "than curvature."
    )
