"""Checks of notebook 16."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, attempted, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

CLOSE, WITHIN = 3e-5, 1500  # the goal of the panel: relative error, gradients
EQUATION = "Poisson 1-D"


@goal("16.equation", equation=EQUATION)
def equation(records, values):
    """By RLHF, a relative error below CLOSE within WITHIN gradients."""
    last = records[-1]
    error = last.extra["error"]
    require(
        last.cost <= 1.1 * WITHIN or error > CLOSE,
        f"The error is {error:.1e}, and it took {last.cost:.0f} gradients: lower the budget.",
    )
    require(
        values["method"].startswith("RLHF"),
        f"{values['method']} ends at {error:.1e}. Keep that number, and let RLHF beat it or not.",
    )
    where = f"The error is {error:.1e} after {last.cost:.0f} gradients. "
    require(
        error <= CLOSE or values["budget"] >= 1000,
        where + "That is in the middle of the fall: give it a larger budget.",
    )
    require(
        error <= CLOSE or values["width"] >= 15,
        where + "A network as narrow as that has few ways to bend: make it wider.",
    )
    require(
        error <= CLOSE or values["damping"] >= 1e-3,
        where + "So little damping makes its first steps reckless: start with more.",
    )
    require(
        error <= CLOSE or values["damping"] <= 10,
        where + "So much damping holds the first steps back: start with less.",
    )
    require(error <= CLOSE, where + "You are close: try the other RLHF, or another width.")
    return correct(
        f"{error:.1e} in {last.step} steps and {last.seconds:.1f} CPU seconds. Now give Adam and "
        "L-BFGS the same budget, and look at both figures."
    )


@exercise("16.layer")
def layer(answer):
    """A function (z, slope, bend) -> value, slope and second derivative behind tanh."""
    for seed in range(3):
        z, slope, bend = (randn(5, seed=seed + 10 * k) for k in range(3))
        t = z.tanh()
        first = (1 - t**2) * slope
        second = (1 - t**2) * bend - 2 * t * (1 - t**2) * slope**2
        found = attempted(call(answer, z, slope, bend))
        require(
            isinstance(found, tuple | list) and len(found) == 3,
            "Return three tensors: value, slope, second derivative.",
        )
        expect(found[0], t, {"The value is tanh(z), not z.": z}, what="value")
        expect(
            found[1],
            first,
            {
                "By the chain rule tanh' is multiplied by z'.": 1 - t**2,
                "tanh' is 1 − tanh², with a square.": (1 - t) * slope,
            },
            "It is tanh'(z) z', with tanh' = 1 − tanh².",
            what="slope",
        )
        expect(
            found[2],
            second,
            {
                "z' depends on x, too: a term with z'' is missing.": second - (1 - t**2) * bend,
                "tanh' depends on x, too: a term with z'² is missing.": (1 - t**2) * bend,
                "In the second term z' comes squared: once from tanh', once beside it.": (1 - t**2)
                * bend
                - 2 * t * (1 - t**2) * slope,
                "tanh'' is −2 tanh tanh': look at its sign.": (1 - t**2) * bend
                + 2 * t * (1 - t**2) * slope**2,
                "tanh'' is −2 tanh tanh': the 2 is missing.": (1 - t**2) * bend
                - t * (1 - t**2) * slope**2,
                "tanh'' is −2 tanh tanh', and tanh' is missing there.": (1 - t**2) * bend
                - 2 * t * slope**2,
            },
            "Differentiate tanh'(z(x)) z'(x) as a product.",
            what="second derivative",
        )
    return correct("Two matrix products and this rule are all that the residual of a layer takes.")


CAUSES = {
    "A": ("points", "Compare the loss at its own points with the loss in between."),
    "B": ("damping", "Its promises are kept to the letter (ρ), and yet it hardly moves: why?"),
    "C": ("batches", "Its ρ says that steps are good. Good for which points?"),
}


@exercise("16.suspects")
def suspects(answer):
    """A mapping from suspect to cause."""
    found = attempted(answer)
    try:
        pairs = dict(found).items()
    except (TypeError, ValueError):
        raise Wrong(f"Expected a dictionary, such as {{'A': 'points'}}, got {found!r}.") from None
    said = {str(k).strip().upper(): attempted(v) for k, v in pairs}
    words = {cause for cause, _ in CAUSES.values()}
    for name, (cause, hint) in CAUSES.items():
        require(name in said, f"Suspect {name} has no cause yet.")
        word = str(said[name]).strip().lower()
        require(word in words, f"{name}: one of {', '.join(sorted(words))}, not {word!r}.")
        require(word == cause, f"Not {name}. {hint}")
    return correct("The loss alone accused only one of them.")


@exercise("16.compare")
def compare(answer):
    """A function (make, methods, budget, seeds) -> method -> errors, one a seed."""
    made: list[tuple[int, list]] = []

    def make(seed):
        made.append((seed, problem := [1.0 + 0.1 * seed]))
        return problem

    def method(price, factors):
        def run(problem):
            for step in count():
                yield step * price, problem[0]
                problem[0] *= factors[step % len(factors)]

        return run

    methods = {"cheap": method(1, (0.9,)), "dear": method(4, (0.5, 0.4, 2.0))}
    budget, seeds = 14, (3, 5)
    found = attempted(call(answer, make, methods, budget, seeds))
    require(
        isinstance(found, Mapping) and set(found) == set(methods),
        "Return a dictionary with an entry for each method.",
    )
    require(
        all(hasattr(row, "__len__") and len(row) == len(seeds) for row in found.values()),
        "Each entry has a list with one error for each seed: their spread is half of the result.",
    )
    require(
        sorted(seed for seed, _ in made) == sorted([*seeds] * len(methods)),
        "Call make(seed) for each seed and each method: what one method has trained is no start for "
        "the other, and both have to see the same seeds.",
    )
    truth = {"cheap": 0.9**14, "dear": 0.4}  # dear: 1, 0.5, 0.2, 0.4 at costs 0, 4, 8, 12
    for name, factor in truth.items():
        got, starts = [float(e) for e in found[name]], [1 + 0.1 * seed for seed in seeds]
        wrong = {
            "The seeds are in another order than they were given.": [
                factor * s for s in starts[::-1]
            ],
            "That is the least error on the way, which nobody knows who has not the truth: take "
            "the last.": [0.2 * s for s in starts],
            "That is one step beyond the budget.": [
                factor * (0.9 if name == "cheap" else 0.5) * s for s in starts
            ],
        }
        right = [factor * s for s in starts]
        for hint, values in wrong.items():
            require(near(got, right) or not near(got, values), f"{name}: {hint}")
        require(
            near(got, right),
            f"{name}: expected the error at the last cost of at most {budget}, whatever the number "
            "of steps: a step of one method is not a step of the other.",
        )
    return correct("Paired seeds, one budget, one price list: now it can answer your own question.")


def near(a, b) -> bool:
    """Equal up to rounding."""
    return all(abs(x - y) <= 1e-9 * abs(y) for x, y in zip(a, b, strict=True))
