"""Checks of notebook 16."""

from __future__ import annotations

import math

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..claims.rule import Comparison as _Comparison
from ..claims.rule import interval, student, verdict
from ..experiments.nb16_retest import ADAM, DEFAULT


@goal("16.untuned", claim=ADAM)
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


@exercise("16.interval")
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


@exercise("16.verdict")
def word(answer):
    """A function of a list of intervals (low, high) -> the verdict."""
    cases = {
        ((0.1, 0.3), (0.2, 0.5)): "supported",
        ((-0.3, -0.1),): "not supported",
        ((-0.3, -0.1), (-0.2, 0.4)): "not supported",
        ((-0.1, 0.2),): "undecided",
        ((0.1, 0.3), (-0.1, 0.2)): "undecided",
        ((0.1, 0.3), (-0.4, -0.2)): "depends",
        ((0.1, 0.3), (-0.4, -0.2), (-0.1, 0.2)): "depends",
        (): "not tested",
    }
    hints = {
        (): 'No comparison at all is no evidence, in either direction: "not tested".',
        (
            (-0.3, -0.1),
            (-0.2, 0.4),
        ): 'One comparison against and none for: "not supported", whatever is open.',
        (
            (0.1, 0.3),
            (-0.1, 0.2),
        ): "An interval around 0 is open, and with something open a claim is not supported yet: "
        'it is "undecided".',
        ((0.1, 0.3), (-0.4, -0.2)): 'For here and against there: it "depends".',
        ((-0.1, 0.2),): 'An interval that holds 0 says nothing: it is "undecided".',
    }
    for intervals, truth in cases.items():
        # The same rule as the ledger's, on benefits that have these intervals.
        exact = [_Comparison("", _with_interval(*pair), "") for pair in intervals]
        assert verdict(exact) == truth
        got = call(answer, [list(pair) for pair in intervals])
        require(
            isinstance(got, str), f"Return one of the five words as text, not {type(got).__name__}."
        )
        require(
            got.strip().lower() == truth,
            hints.get(intervals, f'For the intervals {list(intervals)} the word is "{truth}".')
            + f" You answered {got!r}.",
        )
    return correct("The rule is stated before the numbers are seen; then nobody can bend it.")


def _with_interval(low: float, high: float) -> tuple[float, float]:
    """Two numbers whose 95 % interval is (low, high)."""
    middle, half = (low + high) / 2, (high - low) / 2
    spread = half / student(0.95, 1)
    return middle - spread, middle + spread
