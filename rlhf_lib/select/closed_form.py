"""Choose lambda with nothing set aside: by leave-one-out or by the evidence, in closed form.

Which models have them is not known here: whatever gives a path over lambda with `criterion`, as
:func:`~rlhf_lib.linearize` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from .result import CriterionSelection
from .search import check_rule, falling

CRITERIA = ("loo", "evidence")


class Curve(Protocol):
    """Minima along lambda."""

    def criterion(self, by: str) -> Sequence[tuple[float, float]]:
        """(score, standard error) of each, the least the best."""
        ...


@runtime_checkable
class HasPath(Protocol):
    """A model whose minimum is known for every lambda, on all of its samples."""

    def path(self, lambdas: Iterable[float]) -> Curve:
        """The minimum for each lambda, in the order given."""
        ...


def by_criterion(
    fit: object, samples: int, lambdas: Iterable[float], by: str, *, rule: str = "1se", **no: Any
) -> CriterionSelection:
    """The selection of :func:`select_lambda` for by="loo" and by="evidence".

    Raises:
        ValueError: options that belong to folds, another number of samples, an unknown rule.
        TypeError: no path in closed form.
    """
    if not isinstance(fit, HasPath):
        raise TypeError(
            f"by={by!r}: expected a model with a closed form for every lambda, as "
            f"rlhf_lib.linearize(...) or its fold_fit(...), got {type(fit).__name__}; with by='cv' "
            "any function will do"
        )
    if no:
        raise ValueError(
            f"by={by!r} sets no samples aside: expected only rule beside it, got {', '.join(no)}"
        )
    check_rule(rule)
    known = getattr(fit, "samples", None)
    if known not in (None, samples):
        raise ValueError(f"expected the model's {known} training samples, got {samples}")
    values = falling(lambdas)
    scores = fit.path(values).criterion(by)
    return CriterionSelection(values, tuple((float(a), float(b)) for a, b in scores), by, rule)
