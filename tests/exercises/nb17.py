"""Answers to the exercises of notebook 17."""

import math
import statistics

from answers import Shown, record

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


SOLUTIONS = {"17.untuned": tested([0.2, 0.25, 0.22])}

MISTAKES = {
    "17.untuned": [
        (tested([0.2, 0.25]), "three at least"),
        (tested([-0.01, 0.0, -0.02], TUNED), "careless author"),
        (tested([0.2, -0.25, 0.22]), "more seeds"),
    ],
    "17.interval": [
        (unpaired, "unpaired groups"),
        (lambda a, b, t: paired(a, b, t, sign=-1), "turned round"),
        (lambda a, b, t: paired(a, b, t, root=False), "by √n"),
        (lambda a, b, t: paired(a, b, t, freedom=0), "n - 1"),
        (lambda a, b, t: paired(a, b, t, factor=False), "t is missing"),
        (lambda a, b, t: paired(a, b, t)[::-1], "low, then high"),
        (lambda a, b, t: 0.3, "two numbers"),
    ],
    "17.verdict": [
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
