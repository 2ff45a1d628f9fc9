"""From comparisons to a verdict: what a claim needs, stated once for all claims, before the runs.

A claim says of *all* its comparisons, or of *some*, that there is a benefit. Each comparison says
"for", "against", "no difference" (that matters) or "open"; see `comparison.py`.

A claim about **all**:

- *supported* if every comparison is for it. (No correction is due: to err, all have to.)
- *no difference* if every comparison says so; *depends* if some are for it and others are against
  it or say "no difference": on what these differ in; *refuted* if one is against it or says "no
  difference" and none is for it.

A claim about **some** ("may", "should be found"):

- *supported* if one comparison is for it.
- *no difference* if all say so; *refuted* if all are against it or say "no difference".

Else there is *not enough data*. Where one comparison out of several suffices, they share the risk
of 5 % by Holm's (1979) procedure. So whatever is true, a verdict other than "not enough data" is
wrong in at most 5 % of the cases, as far as the benefits are normal; what holds exactly, such as a
derivative that is zero, is no matter of chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .comparison import AGAINST, ALPHA, FOR, OPEN, SAME, Comparison, student, variance

ALL, SOME = "all", "some"
SUPPORTED, REFUTED, DEPENDS = "supported", "refuted", "depends"
NO_DIFFERENCE, NOT_ENOUGH = "no difference", "not enough data"
NOT_TESTED, NOT_RECORDED = "not tested", "not recorded yet"
POWER = 0.8
MOST_SEEDS = 10_000


def verdict(comparisons: Iterable[Comparison], quantifier: str = ALL, alpha: float = ALPHA) -> str:
    """The word for a claim, from its primary comparisons alone; without any it is not tested."""
    rows = [c for c in comparisons if c.primary]
    if not rows:
        return NOT_TESTED
    if quantifier not in (ALL, SOME):
        raise ValueError(f"expected the quantifier {ALL!r} or {SOME!r}, got {quantifier!r}")
    alone, shared = [c.says_at(alpha) for c in rows], holm(rows, alpha)
    if all(word == SAME for word in alone):
        return NO_DIFFERENCE
    if quantifier == SOME:
        if FOR in shared:
            return SUPPORTED
        return NOT_ENOUGH if {FOR, OPEN} & set(alone) else REFUTED
    if all(word == FOR for word in alone):
        return SUPPORTED
    if AGAINST not in shared and SAME not in shared:
        return NOT_ENOUGH
    return DEPENDS if FOR in shared else REFUTED


def holm(rows: Sequence[Comparison], alpha: float = ALPHA) -> list[str]:
    """What each says when all share one risk: m undecided ones are tested at alpha / m each.

    Whenever one is decided the others share its part (Holm, 1979).
    """
    said = [OPEN] * len(rows)
    while True:
        waiting = [i for i, word in enumerate(said) if word == OPEN]
        new = {i: rows[i].says_at(alpha / len(waiting)) for i in waiting}
        new = {i: word for i, word in new.items() if word != OPEN}
        if not new:
            return said
        for i, word in new.items():
            said[i] = word


def seeds_to_decide(c: Comparison, alpha: float = ALPHA) -> int | None:
    """How many seeds a comparison would take to say anything but "open", with a power of 80 %.

    As if the recorded mean were the truth, or, where it is nearer, as if there were no difference.
    The spread is taken at the upper end of its 80 % interval, since few seeds underrate tails. One
    look. None for what is exact or decided, and where not even 10,000 seeds would do: then the
    items that all seeds share are too few.
    """
    if c.exact or c.says_at(alpha) != OPEN or len(c.benefits) < 2:
        return None
    from scipy.special import chdtri

    n = len(c.benefits)
    inflated = variance(c.benefits) * (n - 1) / float(chdtri(n - 1, 0.9))
    items = variance(c.by_item) / len(c.by_item) if c.by_item else 0.0
    for m in range(n + 1, MOST_SEEDS):
        error = math.sqrt(inflated / m + items)
        # Reaching the far side of 0, or staying within the margin when nothing is there.
        power = student(2 * POWER - 1, m - 1)
        if abs(c.mean) >= (student(1 - alpha, m - 1) + power) * error:
            return m
        both = student(POWER, m - 1)
        if c.matters >= (student(1 - 2 * alpha, m - 1) + both) * error:
            return m
    return None


def more_seeds(comparisons: Iterable[Comparison], alpha: float = ALPHA) -> int | None:
    """Seeds that would decide the open primary comparisons, by the worst of them.

    Each is asked at its share of the risk. None where nothing is open, or no number would do.
    """
    rows = [c for c in comparisons if c.primary]
    waiting = [c for c in rows if c.says_at(alpha) == OPEN]
    found = [seeds_to_decide(c, alpha / max(len(waiting), 1)) for c in waiting]
    return max(found) if found and None not in found else None


def can_decide(comparisons: Iterable[Comparison], alpha: float = ALPHA) -> bool:
    """Whether some number of seeds would decide one of the open primary comparisons."""
    waiting = [c for c in comparisons if c.primary and c.says_at(alpha) == OPEN]
    return any(len(c.benefits) < 2 or seeds_to_decide(c, alpha) for c in waiting)
