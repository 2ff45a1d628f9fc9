"""Checks of notebook 17."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb17_retest import ADAM, DEFAULT
from ..verdicts.comparison import AGAINST, FOR, OPEN, SAME, Comparison, interval, student
from ..verdicts.rule import verdict


@goal("17.untuned", claim=ADAM)
def untuned(records, values):
    """A record in which second order beats Adam for certain, because Adam was not tuned."""
    benefits = records[-1].extra["benefits"]
    require(
        len(benefits) >= 3,
        f"{len(benefits)} seeds have no interval worth the name: take three at least.",
    )
    low, high = interval(benefits)
    require(
        low > 0 or values["baseline"] == DEFAULT,
        f"Against the tuned Adam the interval goes from {low:+.3f} to {high:+.3f} decades. What "
        "might a careless author have done to the baseline?",
    )
    require(low > 0, f"The interval goes from {low:+.3f} to {high:+.3f} and holds 0: more seeds.")
    return correct(
        f"From {low:+.2f} to {high:+.2f} decades for second order, all of it beyond chance, and "
        "all of it from one learning rate that nobody looked for."
    )


@exercise("17.interval")
def paired_interval(answer):
    """A function (ours, theirs, t) -> (low, high) of the mean paired gain theirs - ours."""
    for seed in range(3):
        n = 5 + seed
        hard = 2 * randn(n, seed=seed)  # some draws are hard for both
        ours, theirs = hard + 0.3 * randn(n, seed=seed + 5), hard + 0.4 + 0.3 * randn(n, seed=seed)
        t = student(0.95, n - 1)
        gains = theirs - ours
        mean, half = gains.mean(), t * gains.std() / math.sqrt(n)
        both = t * (ours.var() / n + theirs.var() / n).sqrt()
        got = call(answer, ours.tolist(), theirs.tolist(), t)
        require(
            isinstance(got, tuple | list) and len(got) == 2, "Return two numbers: low and high."
        )
        got = torch.stack([torch.as_tensor(x, dtype=gains.dtype) for x in got])

        def around(middle, half):
            return torch.stack([middle - half, middle + half])

        expect(
            got,
            around(mean, half),
            {
                "That is the interval of two unpaired groups: both methods saw the same draws, so take "
                "the difference seed by seed first.": around(mean, both),
                "The sign is turned round: a gain is theirs less ours.": around(-mean, half),
                "Divide the standard deviation by √n: it is the mean's interval that is asked for.": around(
                    mean, half * math.sqrt(n)
                ),
                "Divide by n - 1, not by n, in the variance.": around(
                    mean, half * math.sqrt((n - 1) / n)
                ),
                "The factor t is missing.": around(mean, half / t),
                "High comes first; return low, then high.": around(mean, -half),
            },
            "mean ± t · s / √n of the n differences.",
            what="interval",
        )
    return correct("What two methods have in common, the hard draws, is gone from the difference.")


@exercise("17.verdict")
def word(answer):
    """A function (intervals, margin, quantifier) -> the verdict."""
    random = Random(0)
    lists = [said for n in range(4) for said in product(_WORDS, repeat=n)]
    for said, quantifier in product(lists, ("all", "some")):
        margin = random.uniform(0.01, 0.5)
        intervals = [_interval(w, margin, random) for w in said]
        truth = _verdict(said, quantifier)
        got = call(answer, [list(pair) for pair in intervals], margin, quantifier)
        require(
            isinstance(got, str), f"Return one of the six words as text, not {type(got).__name__}."
        )
        shown = ", ".join(f"({low:.2g}, {high:.2g})" for low, high in intervals) or "none"
        require(
            got.strip().lower() == truth,
            f"{_why(said, quantifier, truth)} Intervals: {shown}; margin {margin:.2g}, about "
            f'{quantifier}: "{truth}". You answered {got!r}.',
        )
    return correct("The rule is stated before the numbers are seen; then nobody can bend it.")


_WORDS = (FOR, AGAINST, SAME, OPEN)


def _interval(word: str, margin: float, random: Random) -> tuple[float, float]:
    """An interval that says this, no two alike."""
    near, far = random.uniform(0.2, 0.9) * margin, random.uniform(1.1, 3.0) * margin
    return {
        FOR: (near, far),
        AGAINST: (-far, -near),
        SAME: random.choice([(-near, 0.5 * near), (0.1 * near, near), (-near, -0.1 * near)]),
        OPEN: random.choice([(-near, far), (-far, near), (-far, far)]),
    }[word]


def _verdict(said: tuple[str, ...], quantifier: str) -> str:
    """The ledger's word for exact comparisons that say this."""
    sign = {FOR: 2.0, AGAINST: -2.0, SAME: 0.0}
    rows = [
        Comparison("", (0.0,), "", margin=1.0)  # one seed is open
        if w == OPEN
        else Comparison("", (sign[w],), "", exact=True, margin=1.0)
        for w in said
    ]
    return verdict(rows, quantifier)


def _why(said: tuple[str, ...], quantifier: str, truth: str) -> str:
    if not said:
        return "No comparison at all is no evidence, in either direction."
    if len(said) == 1:
        return {
            FOR: "An interval above 0 that is not within the margin is for the claim.",
            AGAINST: "An interval below 0 that is not within the margin is against the claim.",
            SAME: "An interval within the margin says that there is no difference that matters, on "
            "whatever side of 0 it lies.",
            OPEN: "An interval that holds 0 and leaves the margin says nothing.",
        }[said[0]]
    if quantifier == "some":
        return {
            "supported": "One comparison that is for it supports a claim about some.",
            "refuted": "None is for it, and none is open: a claim about some is refuted.",
            "no difference": "All say that there is no difference, and so does the verdict.",
        }.get(truth, "None is for it, but an open one may be, some day: data are missing.")
    return {
        "supported": "All are for it.",
        "depends": "Some are for it and others are not: it depends on what these differ in.",
        "refuted": "One against it or without a difference is enough against a claim about all, "
        "whatever is open.",
        "no difference": "All say that there is no difference, and so does the verdict.",
    }.get(truth, "With something open, and nothing against it, data are missing.")
