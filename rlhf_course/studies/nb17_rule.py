"""How often the rule of the ledger gives which verdict when the truth is known: by simulation."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np

from ..verdicts.comparison import Comparison
from ..verdicts.rule import ALL, NOT_ENOUGH, SOME, verdict
from . import Study

REPEATS = 1000
MARGIN = 0.5  # as everything here in standard deviations of a seed's benefit
LOOKS = (5, 10, 15, 20)
# What is true of each comparison of a claim.
TRUTHS = {
    "nothing in one": (0.0,),
    "nothing in two": (0.0, 0.0),
    "nothing in six": (0.0,) * 6,
    "a benefit of 1 in one": (1.0,),
    "of 1 in two": (1.0, 1.0),
    "of 1 in six": (1.0,) * 6,
    "of 1 in one of six": (1.0, *(0.0,) * 5),
    "of 1 in one, of -1 in another": (1.0, -1.0),
    "of -1 in two": (-1.0, -1.0),
}
PLANS = ((5,), (10,), (20,), (40,), LOOKS)
NOISES = ("normal", "Student's t, 3 degrees")


def settings(truth: str, quantifier: str, looks: tuple, noise: str = NOISES[0]) -> dict[str, Any]:
    return {"truth": truth, "quantifier": quantifier, "looks": list(looks), "noise": noise}


def runs():
    for truth, quantifier, looks in product(TRUTHS, (ALL, SOME), PLANS):
        if quantifier == ALL or len(TRUTHS[truth]) > 1:  # of one comparison both say the same
            yield settings(truth, quantifier, looks)
    for truth in ("nothing in one", "nothing in six", "of 1 in two"):
        for looks in ((10,), LOOKS):
            yield settings(truth, ALL, looks, NOISES[1])


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Share of each verdict, and the mean number of seeds that it took."""
    effects, looks = TRUTHS[settings["truth"]], tuple(settings["looks"])
    random = np.random.default_rng(0)
    found, seeds = Counter(), 0
    for _ in range(REPEATS):
        shape = len(effects), looks[-1]
        if settings["noise"] == NOISES[0]:
            noise = random.standard_normal(shape)
        else:
            noise = random.standard_t(3, shape) / np.sqrt(3)  # of variance 1
        draws = (np.asarray(effects)[:, None] + noise).tolist()
        for n in looks:
            rows = [
                Comparison("", tuple(d[:n]), "deviations", margin=MARGIN, looks=looks)
                for d in draws
            ]
            word = verdict(rows, settings["quantifier"])
            if word != NOT_ENOUGH:
                break
        found[word] += 1
        seeds += n
    shares = {word: round(count / REPEATS, 3) for word, count in sorted(found.items())}
    return {"shares": shares, "mean_seeds": round(seeds / REPEATS, 1)}


STUDY = Study(
    about=f"The ledger's rule on {REPEATS} simulated claims each: how often which verdict.",
    runs=runs,
    run=run,
    small=settings("of 1 in two", ALL, (10,)),
)
