"""What a run is stopped and chosen by, beside the loss: a metric of a whole data set, by name or
as a function of predictions and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from .task import Task

Metric = str | Callable[[Any, Any], Any]
Metrics = dict[str, Callable[[Any, Any], Any]]
LEAST_IS_BEST = ("loss", "perplexity", "mse")


def set_metric(task: Task, metric: Metric, maximize: bool | None = None) -> tuple[str, bool]:
    """Have a task's `assess` report a metric; (its name there, whether the largest is best).

    metric: what `assess` has already ("loss", "accuracy", "f1" of entities, ...), one of the task's
        `further_metrics`, or `f(predictions, labels)` that gives a number, called once for a whole
        data set; see the task's `judged` for what it gets. It reports under its `__name__`.
    maximize: for a function, which must say it. A name knows.

    Raises ValueError for a name that the task does not have, TypeError for another kind of metric.
    """
    if maximize is not None and not isinstance(maximize, bool):
        raise TypeError(f"maximize: expected True or False, got {maximize!r}")
    task.metrics = {}
    if isinstance(metric, str):
        further = task.further_metrics()
        if metric in further:
            task.metrics = {metric: further[metric]}
        elif metric not in task.reports:
            raise ValueError(
                f"metric: expected one of {', '.join((*task.reports, *further))}, or a function of "
                f"predictions and labels, got {metric!r}"
            )
        largest = metric not in LEAST_IS_BEST
        if maximize not in (None, largest):
            raise ValueError(f"maximize: expected {largest} for {metric}, got {maximize}")
        return metric, largest
    if not callable(metric):
        raise TypeError(
            "metric: expected a name or a function of predictions and labels, got "
            f"{type(metric).__name__}"
        )
    name = getattr(metric, "__name__", type(metric).__name__)
    if maximize is None:
        raise ValueError(f"maximize: expected True or False with a function, {name}, got None")
    if name in task.reports:
        raise ValueError(f"metric: expected a function of another name, got one called {name!r}")
    task.metrics = {name: metric}
    return name, maximize


def measured(metrics: Metrics, predictions: Any, labels: Any) -> dict[str, float]:
    """The value of each metric as a number; NaN stays NaN.

    Raises TypeError for one that gives no number.
    """
    return {name: _number(name, f(predictions, labels)) for name, f in metrics.items()}


def _number(name: str, found: Any) -> float:
    try:
        if isinstance(found, str | bytes):
            raise TypeError
        return float(found)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"metric {name}: expected a number, got {type(found).__name__}"
            + (f" of shape {tuple(found.shape)}" if hasattr(found, "shape") else "")
        ) from None


def class_metrics(classes: int) -> Metrics:
    """Metrics of predicted and true classes, (n,) each, by torchmetrics.

    A mean over classes ("macro") leaves out those that neither has.
    """

    def by(function: str, average: str | None = None) -> Callable[[Tensor, Tensor], Tensor]:
        def metric(predictions: Tensor, labels: Tensor) -> Tensor:
            from ..quiet import quiet

            with quiet():
                from torchmetrics.functional import classification

            options = {} if average is None else {"average": average}
            found = getattr(classification, f"multiclass_{function}")
            return found(predictions, labels, num_classes=classes, **options)

        return metric

    return {
        "macro_f1": by("f1_score", "macro"),
        "weighted_f1": by("f1_score", "weighted"),
        "macro_precision": by("precision", "macro"),
        "macro_recall": by("recall", "macro"),
        "matthews": by("matthews_corrcoef"),
    }
