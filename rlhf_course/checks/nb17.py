"""Checks of notebook 17."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations, product
from random import Random

import torch

from ..checking.cases import integer, uniform
from ..checking.expect import call, expect, parts, randn
from ..checking.feedback import attempted, correct, require
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
    require(
        values["baseline"] == DEFAULT,
        f"From {low:+.3f} to {high:+.3f} against the tuned Adam: that may be chance, or true. The "
        "goal is a victory over an Adam that nobody tuned.",
    )
    return correct(
        f"From {low:+.2f} to {high:+.2f} decades for second order, all of it beyond chance, and "
        "all of it from one learning rate that nobody looked for."
    )


@exercise("17.interval")
def paired_interval(answer):
    """A function (ours, theirs, t) -> (low, high) of the mean paired gain theirs - ours."""
    for seed in range(3):
        n = integer(4 + seed, 9 + seed, seed=seed)
        hard = 2 * randn(n, seed=seed)  # some draws are hard for both
        ours, theirs = hard + 0.3 * randn(n, seed=seed + 5), hard + 0.4 + 0.3 * randn(n, seed=seed)
        t = student(0.95, n - 1)
        gains = theirs - ours
        mean, half = gains.mean(), t * gains.std() / math.sqrt(n)
        both = t * (ours.var() / n + theirs.var() / n).sqrt()
        got = parts(call(answer, ours.tolist(), theirs.tolist(), t), "(low, high)")
        got = torch.tensor([float(x) for x in got], dtype=gains.dtype)

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
                "That is a normal distribution's 1.96; with few seeds t is larger.": around(
                    mean, 1.96 * half / t
                ),
                "That is the interval's half alone: t · s / √n, about 0.": around(0 * mean, half),
                "High comes first; return low, then high.": around(mean, -half),
            },
            "mean ± t · s / √n of the n differences.",
            what="interval",
        )
    return correct("What two methods have in common, the hard draws, is gone from the difference.")


@exercise("17.pairing")
def pairing(answer):
    """A function (s, t, r) -> how many times as many seeds it takes if they are not paired."""
    for seed in range(4):
        s, t = uniform(0.5, 2.0, seed=seed), uniform(0.5, 2.0, seed=seed + 10)
        r = uniform(0.3, 0.95, seed=seed + 20) * (1, -0.5)[seed % 2]
        apart, together = s * s + t * t, s * s + t * t - 2 * r * s * t
        expect(
            call(answer, s, t, r),
            torch.tensor(apart / together, dtype=torch.float64),
            {
                "Turned round: that is how many times fewer it takes.": torch.tensor(
                    together / apart
                ),
                "That is the ratio of the intervals' lengths; seeds go with its square.": torch.tensor(
                    math.sqrt(apart / together)
                ),
                "A negative r counts, too: then pairing costs seeds.": torch.tensor(
                    apart / (apart - 2 * abs(r) * s * t)
                )
                if r < 0
                else None,
                "That holds where both deviate alike, s = t.": torch.tensor(1 / (1 - r)),
                "The covariance is r s t, and it comes in twice.": torch.tensor(
                    apart / (apart - r * s * t)
                ),
                "The variance of a difference has minus twice the covariance.": torch.tensor(
                    apart / (apart + 2 * r * s * t)
                ),
            },
            "Variance of the mean of n differences, paired and not: at which n are they the same?",
            what="ratio",
        )
    return correct(
        "With r = 0.9 and equal deviations a paired seed is worth ten. With r below 0 pairing "
        "would harm; the same hard draws give an r above 0."
    )


@exercise("17.faults")
def faults(answer):
    """A function protocol -> the set of what is wrong with it, of "edge", "leak", "other", "peek"."""
    everything = 3 * [set(some) for n in range(5) for some in combinations(_FAULTS, n)]
    for i, wrong in enumerate(everything):
        protocol = _protocol(wrong, Random(integer(0, 2**30, seed=i)))
        got = call(answer, protocol)
        got = set(got) if isinstance(got, Iterable) and not isinstance(got, str) else got
        require(
            isinstance(got, set) and got <= _FAULTS.keys(),
            f"Return a set with some of the words {', '.join(map(repr, _FAULTS))}, or an empty one.",
        )
        for word in _FAULTS:
            if (word in got) != (word in wrong):
                missed = "is in this one" if word in wrong else "is not in this one"
                require(False, f'"{word}" {missed}. {_FAULTS[word]} {protocol}')
    return correct("None of these needs new runs to be seen: a record is enough, if it is whole.")


_FAULTS = {
    "edge": "The winner is the smallest or the largest value tried: a better one may lie beyond.",
    "leak": "A row that tuned, whether it trained or selected, also tests.",
    "other": "It is tuned for one quantity and judged by another.",
    "peek": "A look was taken that the plan does not have.",
}


def _protocol(wrong: set[str], random: Random) -> dict:
    """A record with these faults and no others."""
    n = random.randint(3, 7)
    rates = sorted(random.sample([round(10 ** (-k / 4), 5) for k in range(16)], n))
    best = random.choice((0, n - 1)) if "edge" in wrong else random.randint(1, n - 2)
    losses = [round(random.uniform(0.5, 0.9), 3) for _ in rates]
    losses[best] = round(random.uniform(0.2, 0.4), 3)
    tried = list(zip(rates, losses, strict=True))
    random.shuffle(tried)
    rows = random.sample(range(1000), 24)
    test = rows[16:]
    if "leak" in wrong:
        test[random.randrange(8)] = rows[random.randrange(16)]
    judged = random.choice(["training loss", "validation loss", "accuracy"])
    others = [q for q in ("training loss", "validation loss", "accuracy") if q != judged]
    planned = sorted(random.sample(range(5, 40), 3))
    looks = planned[: random.randint(1, 2)]  # to stop early is no fault
    if "peek" in wrong:
        unplanned = [n for n in range(5, 45) if n not in planned]
        looks = sorted([*planned[: random.randint(1, 3)], random.choice(unplanned)])
    return {
        "tried": dict(tried),
        "tuned for": random.choice(others) if "other" in wrong else judged,
        "judged by": judged,
        "rows that train while tuning": sorted(rows[:8]),
        "rows that select while tuning": sorted(rows[8:16]),
        "rows that test": sorted(test),
        "planned looks": planned,
        "looks taken": looks,
    }


@exercise("17.peeking")
def peeking(answer):
    """The share of false alarms of a plan that looks at 5, 10, 15, 20 seeds, each time at 5 %."""
    share = float(attempted(answer))
    require(0 <= share <= 1, "A share, please: between 0 and 1.")
    benefits = randn(30_000, 20)
    numbers, squares = benefits.cumsum(1), benefits.square().cumsum(1)

    def found(freedom: int = 1, factor=lambda n: student(0.95, n - 1)) -> list[float]:
        """The share with an alarm up to each look."""
        alarms, shares = torch.zeros(len(benefits), dtype=torch.bool), []
        for n in _LOOKS:
            mean, square = numbers[:, n - 1] / n, squares[:, n - 1] / n
            deviation = ((square - mean**2) * n / (n - freedom)).sqrt()
            alarms = alarms | (mean.abs() > factor(n) * deviation / math.sqrt(n))
            shares.append(float(alarms.double().mean()))
        return shares

    one, _, three, truth = found()
    slips = {
        "That is what one look alone would give.": one,
        "The looks are not independent: each holds the seeds of the one before.": 1 - 0.95**4,
        "That is after three looks; the fourth is missing.": three,
        "Divide by n − 1, not by n, in the variance.": found(freedom=0)[-1],
        "1.96 is for a deviation that is known; of so few seeds t is larger.": found(
            factor=lambda n: 1.96
        )[-1],
        "With one t for all looks some of them are no 95 % intervals.": found(
            factor=lambda n: student(0.95, _LOOKS[0] - 1)
        )[-1],
    }
    # The hint of the slip that is nearest, where the truth is not nearer.
    hint = min(slips, key=lambda h: abs(share - slips[h]))
    require(abs(share - truth) < 0.01 or abs(share - truth) < abs(share - slips[hint]), hint)
    require(
        abs(share - truth) < 0.02,
        f"A simulation of ours finds something else than {share:.3f}. The benefits have mean 0 and "
        "any variance; an alarm is an interval that leaves 0, at one look or at another.",
    )
    return correct(
        f"{truth:.1%} of the studies of nothing find something, and the plan says 5 %. So looks are "
        "planned, and share the 5 %."
    )


_LOOKS = (5, 10, 15, 20)


@exercise("17.verdict")
def word(answer):
    """A function (intervals, margin, quantifier) -> the verdict."""
    random = Random(integer(0, 2**30))
    lists = [said for n in range(4) for said in product(_WORDS, repeat=n)]
    lists += [tuple(random.choices(_WORDS, k=random.randint(4, 9))) for _ in range(40)]
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
