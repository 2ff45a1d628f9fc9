"""Answers to the exercises of notebook 17."""

import math
import statistics

import numpy as np
import torch
from answers import Shown, record, stopped

from rlhf_course.experiments.nb17_retest import ADAM, DEFAULT, TUNED


def tested(benefits, baseline=DEFAULT):
    values = {"claim": ADAM, "baseline": baseline, "first": 20, "seeds": len(benefits)}
    return Shown([record(extra={"benefits": tuple(benefits)})], values)


def paired(ours, theirs, t, *, sign=1, root=True, freedom=1, factor=True):
    gains = [sign * (b - a) for a, b in zip(ours, theirs, strict=True)]
    n, mean = len(gains), statistics.fmean(gains)
    s = math.sqrt(sum((g - mean) ** 2 for g in gains) / (n - freedom))
    half = (t if factor else 1) * s / (math.sqrt(n) if root else 1)
    return mean - half, mean + half


def unpaired(ours, theirs, t):
    n = len(ours)
    half = t * math.sqrt(statistics.variance(ours) / n + statistics.variance(theirs) / n)
    mean = statistics.fmean(theirs) - statistics.fmean(ours)
    return mean - half, mean + half


def verdict(intervals, margin, quantifier):
    said = {
        "same"
        if -margin < low and high < margin
        else "for"
        if low > 0
        else "against"
        if high < 0
        else "open"
        for low, high in intervals
    }
    if not said:
        return "not tested"
    if said == {"same"}:
        return "no difference"
    if quantifier == "some":
        return "supported" if "for" in said else "not enough data" if "open" in said else "refuted"
    if said == {"for"}:
        return "supported"
    if not said & {"against", "same"}:
        return "not enough data"
    return "depends" if "for" in said else "refuted"


def without_a_margin(intervals, margin, quantifier):
    return verdict(intervals, 0.0, quantifier)


def majority(intervals, margin, quantifier):
    good, bad = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
    if not intervals:
        return "not tested"
    return "supported" if good > bad else "refuted" if bad > good else "not enough data"


def with_depends(intervals, margin, quantifier):
    """The majority among many, and the rule among few."""
    if len(intervals) < 4:
        return verdict(intervals, margin, quantifier)
    return majority(intervals, margin, quantifier)


def by_means(intervals, margin, quantifier):
    if not intervals:
        return "not tested"
    mean = sum(low + high for low, high in intervals)
    return "supported" if mean > 0 else "refuted"


def holding_zero(intervals, margin, quantifier):
    """Takes every interval around 0 for no difference."""
    return verdict(
        [(low, high) if low > 0 or high < 0 else (0.0, 0.0) for low, high in intervals],
        margin,
        quantifier,
    )


def ratio(s, t, r):
    return (s * s + t * t) / (s * s + t * t - 2 * r * s * t)


def found(protocol, **wrong):
    """The faults; `wrong` replaces one test by another: name -> function of the protocol."""
    p, tried = protocol, protocol["tried"]
    best = min(tried, key=tried.get)
    tuning = {*p["rows that train while tuning"], *p["rows that select while tuning"]}
    tests = {
        "edge": lambda p: best in (min(tried), max(tried)),
        "leak": lambda p: bool(tuning & set(p["rows that test"])),
        "other": lambda p: p["tuned for"] != p["judged by"],
        "peek": lambda p: bool(set(p["looks taken"]) - set(p["planned looks"])),
    }
    return {name for name, test in (tests | wrong).items() if test(p)}


def edge_of_the_list(p):
    best = min(p["tried"], key=p["tried"].get)
    return best in (next(iter(p["tried"])), list(p["tried"])[-1])


SOLUTIONS = {"17.untuned": tested([0.2, 0.25, 0.22])}

MISTAKES = {
    "17.untuned": [
        (tested([0.2, 0.25]), "three at least"),
        (tested([-0.01, 0.0, -0.02], TUNED), "careless author"),
        (tested([0.2, -0.25, 0.22]), "more seeds"),
        (tested([0.1, 0.12, 0.11], TUNED), "that nobody tuned"),
        (tested([-0.3, -0.31, -0.29]), "more seeds"),
        (stopped(tested([0.2, 0.25, 0.22])), "a whole one"),
        ((0.1, 0.3), "the panel itself"),
    ],
    "17.interval": [
        (unpaired, "unpaired groups"),
        (lambda a, b, t: paired(a, b, t, sign=-1), "turned round"),
        (lambda a, b, t: paired(a, b, t, root=False), "by √n"),
        (lambda a, b, t: paired(a, b, t, freedom=0), "n - 1"),
        (lambda a, b, t: paired(a, b, t, factor=False), "t is missing"),
        (lambda a, b, t: paired(a, b, t)[::-1], "low, then high"),
        (lambda a, b, t: 0.3, "pair"),
        (lambda a, b, t: paired(a, b, 1.96), "1.96"),
        (lambda a, b, t: paired(a[:4], b[:4], t), "√n of the n"),
        (lambda a, b, t: tuple(sorted(y - x for x, y in zip(a, b, strict=True)))[::8], "pair"),
    ],
    "17.pairing": [
        (lambda s, t, r: 1 / ratio(s, t, r), "Turned round"),
        (lambda s, t, r: math.sqrt(ratio(s, t, r)), "intervals' lengths"),
        (lambda s, t, r: 1 / (1 - r), "s = t"),
        (lambda s, t, r: ratio(s, t, r / 2), "comes in twice"),
        (lambda s, t, r: ratio(s, t, -r), "minus twice"),
        (lambda s, t, r: 1.0, "paired and not"),
        (lambda s, t, r: ratio(s, t, abs(r)), "A negative r"),
        (lambda s, t, r: max(1.0, ratio(s, t, r)), "paired and not"),
        (lambda s, t, r: 1 / (1 - r * r), "paired and not"),
    ],
    "17.faults": [
        (lambda p: found(p, edge=edge_of_the_list), "the smallest or the largest value"),
        (lambda p: found(p, edge=lambda p: min(p["tried"].values()) > 0.25), '"edge"'),
        (
            lambda p: found(
                p,
                leak=lambda p: bool(
                    set(p["rows that train while tuning"]) & set(p["rows that test"])
                ),
            ),
            "whether it trained or selected",
        ),
        (lambda p: found(p, other=lambda p: p["tuned for"] != "accuracy"), "tuned for one"),
        (lambda p: found(p, peek=lambda p: len(p["looks taken"]) > 1), "that the plan does not"),
        (lambda p: found(p, peek=lambda p: p["looks taken"] != p["planned looks"]), '"peek"'),
        (lambda p: bool(found(p)), "Return a set"),
        (lambda p: ", ".join(found(p)), "Return a set"),
        (
            lambda p: found(
                p, edge=lambda p: min(p["tried"], key=p["tried"].get) == min(p["tried"])
            ),
            "one may lie beyond",
        ),
        (lambda p: found(p, peek=lambda p: p["looks taken"][-1] not in p["planned looks"]), "look"),
        (
            lambda p: found(
                p, other=lambda p: ("loss" in p["tuned for"]) != ("loss" in p["judged by"])
            ),
            '"other"',
        ),
    ],
    "17.peeking": [
        (0.05, "one look alone"),
        (1 - 0.95**4, "not independent"),
        (0.25, "1.96"),
        (13.0, "between 0 and 1"),
        (0.02, "one look alone"),
        (0.1127, "after three looks"),
        (0.158, "n − 1"),
        (0.217, "1.96"),
        (0.0753, "one t for all"),
        (0.067, "one t for all"),  # only alarms above 0
        (0.192, "not independent"),  # a look after each seed from the fifth
        ([0.05, 0.08, 0.11, 0.13], "raised TypeError"),
    ],
    "17.verdict": [
        (with_depends, "Intervals: "),
        (majority, "whatever side of 0"),
        (without_a_margin, "whatever side of 0"),
        (holding_zero, "says nothing"),
        (by_means, "no difference that matters"),
        (lambda v, m, q: verdict(v, m, q) if v else "supported", "no evidence"),
        (lambda v, m, q: verdict(v, m, "all"), "supports a claim about some"),
        (lambda v, m, q: verdict(v, m, "some"), "depends on what"),
        (lambda v, m, q: verdict(v, m, q).replace("depends", "refuted"), "depends on what"),
        (lambda v, m, q: bool(v), "six words"),
    ],
}

RIGHT = {
    "17.untuned": [
        tested([0.2, 0.21, 0.22, 0.19]),
        tested([0.01, 0.012, 0.011]),
        tested([0.5, 0.1, 0.3, 0.2, 0.4, 0.3]),
    ],
    "17.interval": [
        lambda a, b, t: list(paired(a, b, t)),
        lambda a, b, t: np.array(paired(a, b, t)),
        lambda a, b, t: dict(zip(("low", "high"), map(torch.tensor, paired(a, b, t)), strict=True)),
    ],
    "17.pairing": [
        lambda s, t, r: torch.tensor(1 + 2 * r * s * t / (s * s + t * t - 2 * r * s * t)),
        lambda s, t, r: np.float64(1 / (1 - 2 * r / (s / t + t / s))),
        lambda s, t, r: -(s**2 + t**2) / -((s - t) ** 2 + 2 * (1 - r) * s * t),
    ],
    "17.faults": [
        lambda p: sorted(found(p)),
        lambda p: frozenset(found(p)),
        lambda p: dict.fromkeys(found(p), True),
        lambda p: (word for word in ("peek", "other", "leak", "edge") if word in found(p)),
    ],
    "17.peeking": [torch.tensor(0.127), np.float64(0.1385), "0.131"],
    "17.verdict": [
        lambda v, m, q: verdict([tuple(x) for x in v], m, q).upper(),
        lambda v, m, q: f" {verdict(v, m, q)}\n",
        lambda v, m, q: np.str_(verdict(v[::-1], m, q)),
    ],
}
