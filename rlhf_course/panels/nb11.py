"""Notebook 11: choosing λ by cross-validation, and who wins with which luck."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlhf_lib.panels import Panel, charts, figures, slider
from rlhf_lib.panels import choice as choose
from rlhf_lib.panels.bands import Bands
from rlhf_lib.panels.figure import Figure
from rlhf_lib.record import Record
from rlhf_lib.select import LambdaPath, LambdaSelection, Selection

from ..checking.goals import reached
from ..checking.predictions import choice
from ..checks.nb11 import FOOLED
from .sketch import Sketch

choice(
    "11.dealing",
    "Twenty seeds deal the same 60 reviews into five folds, each in its own way. How many of them "
    "have the same winner?",
    ["all, or nearly all", "about half", "two or three"],
    truth=1,
    why="The most frequent winner has 11 of 20 seeds with one sample, 9 with another.",
)
choice(
    "11.fold",
    "Now only one fold of twelve reviews judges, as in “we held out 20 % for validation”. By what "
    "factor are the largest and the smallest of a hundred such winners apart?",
    ["about 3", "about 30", "1,000 or more"],
    truth=2,
    why="They lie nearly everywhere on the grid, which spans a factor of 10,000.",
)
choice(
    "11.seeds",
    "Does the mean over 20 seeds find the λ that is best for the unseen reviews?",
    ["yes: the luck averages out", "not always: all seeds deal the same 60 reviews"],
    truth=1,
    why="With sample 3 the seeds agree on a λ five times too large: that luck lies in the sample.",
)

TICKS = {"x_title": "λ", "x_log": True, "x_range": [0.0007, 15]}
Scores = Sequence[Mapping[str, float]]


def winner(paths: Sequence[LambdaPath], lambdas: Sequence[float]) -> float:
    """The λ of the least mean loss over these paths."""
    means = [statistics.fmean(p.scores[i]["loss"] for p in paths) for i in range(len(lambdas))]
    return lambdas[means.index(min(means))]


def winners(found: LambdaSelection) -> tuple[list[float], list[float]]:
    """The winner of each single fold, and of each seed that has all its folds."""
    by_seed: dict[int, list[LambdaPath]] = {}
    for path in found.paths:
        by_seed.setdefault(path.seed, []).append(path)
    whole = [paths for paths in by_seed.values() if len(paths) == found.folds]
    return (
        [winner([path], found.lambdas) for path in found.paths],
        [winner(paths, found.lambdas) for paths in whole],
    )


def best_for(losses: Sequence[float], lambdas: Sequence[float]) -> float:
    """The λ with the least of these losses."""
    return lambdas[losses.index(min(losses))]


def cost_of(chosen: float, losses: Sequence[float], lambdas: Sequence[float]) -> float:
    """What λ loses against the best one by these losses."""
    return losses[list(lambdas).index(chosen)] - min(losses)


# -- the panel ----------------------------------------------------------------------------


def dealing(search: Callable[..., Iterator[tuple[LambdaSelection, Sequence[float]]]]) -> Panel:
    """`search(n, sample, folds, first, seeds, rule)` yields the selection after each path, and
    the losses of the unseen reviews."""

    def generate(n, sample, folds, first, seeds, rule):
        for step, (found, unseen) in enumerate(search(n, sample, folds, first, seeds, rule), 1):
            cost = cost_of(found.chosen, unseen, found.lambdas)
            yield Record(
                step=step,
                loss=found.chosen_row.mean,
                extra={"found": found, "unseen": unseen, "cost": cost},
            )

    return Panel(
        generate,
        controls=[
            slider("n", "reviews n", low=40, high=200, step=20, value=60),
            slider("sample", "sample", low=0, high=9, step=1, value=3),
            slider("folds", "folds K", low=2, high=10, step=1, value=5),
            slider("first", "first seed", low=0, high=40, step=1, value=0),
            slider("seeds", "seeds", low=1, high=20, step=1, value=1),
            choose("rule", "rule", ["min", "1se"]),
        ],
        figures=[
            Bands(
                {"cross-validation": _mean, "unseen reviews": _unseen},
                marks={"least mean": _least, "rule's choice": _rule, "what it gets": _gets},
                # Where the curve above does not lie on it.
                marked={"what it gets": "bottom center"},
                title="Loss at each λ",
                y_title="cross-entropy (nats)",
                y_range=[0.2, 1.2],
                **TICKS,
            ),
            figures.Curves(
                {"cost": lambda record: record.extra["cost"]},
                title="What the choice costs, path by path",
                x_title="finished paths",
                y_title="nats above the best λ",
                x_range=[1, 200],
                x_log=True,
                y_range=[-0.005, 0.3],
                goal={"y": (FOOLED, 0.3)},
            ),
            Sketch(
                _shares,
                {"single folds": "path", "seeds": "path"},
                named=["single folds", "seeds"],
                room="",
                title="Who wins: share at each λ",
                y_title="share of winners",
                y_range=[0, 1.05],
                **TICKS,
            ),
        ],
        readout=_read,
        total=lambda values: values["folds"] * values["seeds"],
        title="Cross-validation on few reviews",
        goal="n = 60, sample 3, K = 5, one seed, rule min: a seed whose winner costs 0.1 nats or "
        "more",
        keep=3,
        reached=reached("11.fooled"),
        follow=True,
    )


def _mean(record):
    columns = record.extra["found"].bands()
    return tuple(columns[name] for name in ("lambda", "mean", "low", "high"))


def _unseen(record):
    losses = record.extra["unseen"]
    return record.extra["found"].lambdas, losses, losses, losses


def _least(record):
    row = record.extra["found"].best_row
    return row.lambda_reg, row.mean


def _rule(record):
    row = record.extra["found"].chosen_row
    return None if row.lambda_reg == record.extra["found"].best else (row.lambda_reg, row.mean)


def _gets(record):
    found = record.extra["found"]
    return found.chosen, record.extra["unseen"][found.lambdas.index(found.chosen)]


def _shares(records, values):
    found = records[-1].extra["found"]
    named = zip(("single folds", "seeds"), winners(found), strict=True)
    return {name: _share(some, found.lambdas) for name, some in named}


def _share(some: Sequence[float], lambdas: Sequence[float]) -> tuple[list[float], list[float]]:
    counts = Counter(some)
    return list(lambdas), [counts[value] / max(1, len(some)) for value in lambdas]


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    found, unseen = (records[-1].extra[name] for name in ("found", "unseen"))
    best = found.best_row
    return (
        f"{found.finished} of {found.total} paths: least mean {best.mean:.3f} (standard error "
        f"{best.standard_error:.3f}) at λ = {found.best:.2g}; chosen λ = {found.chosen:.2g}. On "
        f"the unseen reviews the best λ gives {min(unseen):.3f}, and the chosen one costs "
        f"{records[-1].extra['cost']:.3f} more."
    )


# -- still figures ------------------------------------------------------------------------


def curve(
    found: LambdaSelection,
    unseen: Sequence[float] | None = None,
    *,
    rule: bool = False,
    **axes: Any,
) -> Figure:
    """The mean of cross-validation with a band of one standard error, and with `rule` the limit
    of the one-standard-error rule and what it chooses."""
    columns, best = found.bands(), found.best_row
    series = {"cross-validation": (columns["lambda"], columns["mean"])}
    if unseen is not None:
        series["unseen reviews"] = (found.lambdas, unseen)
    series["least mean"] = ([best.lambda_reg], [best.mean])
    labels = {"least mean": ["least mean"]}
    lines = {"a coin's guess": 0.6931}
    if rule:
        lines = {"limit of the rule": best.mean + best.standard_error}
        chosen = found.chosen_row
        series["1se"] = ([chosen.lambda_reg], [chosen.mean])
        labels["1se"] = ["the rule's choice"]
    kind = {name: "markers" if len(x) == 1 else "lines+markers" for name, (x, _) in series.items()}
    figure = charts.chart(
        series,
        kind=kind,
        labels=labels,
        lines=lines,
        y_title="cross-entropy (nats)",
        bands={"cross-validation": (columns["low"], columns["high"])},
        **(TICKS | axes),
    )
    # Above the marks lie the band and the line of the limit.
    places = {"least mean": "bottom center", "1se": "bottom right"}
    figure.widget.fixed = [
        trace | {"textposition": places[trace["name"]]} if trace.get("name") in places else trace
        for trace in figure.widget.fixed
    ]
    return figure


def three_judges(judges: Mapping[str, Selection], unseen: Sequence[float]) -> Figure:
    """What each judge says of each λ, above its own least, and what the unseen reviews say.

    judges: by name; unseen: the unseen reviews' loss for each λ of the judges, from the largest.
    """
    lambdas = next(iter(judges.values())).lambdas
    columns = {name: [row.mean for row in found.rows] for name, found in judges.items()}
    columns["unseen reviews"] = list(unseen)
    said = "; ".join(
        f"{name} {lambdas[column.index(min(column))]:.2g}" for name, column in columns.items()
    )
    return charts.chart(
        {
            name: (lambdas, [value - min(column) for value in column])
            for name, column in columns.items()
        },
        kind="lines+markers",
        title="Judges of λ, each above its own least",
        y_title="nats a review",
        readout=f"Least at: {said}.",
        **TICKS,
    )


def votes(found: LambdaSelection, best: float, **axes: Any) -> Figure:
    """The shares of single folds and of seeds that each λ wins, and the λ best in hindsight."""
    shares = [_share(some, found.lambdas) for some in winners(found)]
    top = max(*shares[0][1], *shares[1][1])
    return charts.chart(
        {"single folds": shares[0], "seeds": shares[1], "best unseen": ([best], [top + 0.08])},
        kind={"single folds": "lines+markers", "seeds": "lines+markers", "best unseen": "markers"},
        labels={"best unseen": ["best for the unseen"]},
        y_title="share of winners",
        y_range=[0, top + 0.2],
        **(TICKS | axes),
    )


def by_sample(rows: Sequence[Mapping[str, Any]], readout: str) -> Figure:
    """Of each sample the winners of its seeds, of all of them together, and the best λ."""
    seeds = [
        (i + 0.05 * (k - 4.5), value)
        for i, row in enumerate(rows)
        for k, value in enumerate(sorted(row["seeds"]))
    ]
    places = range(len(rows))
    return charts.chart(
        {
            "one seed": ([x for x, _ in seeds], [v for _, v in seeds]),
            "ten seeds": (places, [row["found"].best for row in rows]),
            "best for the unseen": (places, [row["hindsight"] for row in rows]),
        },
        kind="markers",
        title="Winners of ten samples of 60 reviews",
        x_title="sample",
        y_title="λ",
        y_log=True,
        x_range=[-0.6, len(rows) - 0.4],
        y_range=[0.0007, 15],
        readout=readout,
    )


def per_sample(values: Mapping[str, Sequence[float]], **axes: Any) -> Figure:
    """Numbers of each sample, side by side."""
    count = len(next(iter(values.values())))
    shift = {name: 0.16 * (k - (len(values) - 1) / 2) for k, name in enumerate(values)}
    return charts.chart(
        {name: ([i + shift[name] for i in range(count)], list(v)) for name, v in values.items()},
        kind="markers",
        x_title="sample",
        x_range=[-0.6, count - 0.4],
        **axes,
    )


def accuracies(habits: Mapping[str, Sequence[float]], **axes: Any) -> Figure:
    """Mean, least and largest accuracy of each habit, and what a coin has."""
    return charts.ranking(
        {name: (statistics.fmean(some), min(some), max(some)) for name, some in habits.items()},
        lines={"the truth: 0.5": 0.5},
        x_title="accuracy on coin labels",
        x_range=[0.3, 1.0],
        **axes,
    )


def of_study(study: Mapping[str, Any]) -> tuple[LambdaSelection, Scores, Scores]:
    """The recorded cross-validation of BERT, what the unseen reviews say of each λ, and what they
    say after twice the steps."""
    parts = {run["settings"]["part"]: run for run in study["runs"]}
    folds = [run for run in study["runs"] if run["settings"]["part"] == "fold"]
    unseen = parts["unseen"]
    paths = tuple(
        LambdaPath(r["settings"]["seed"], r["settings"]["fold"], tuple(r["result"]["scores"]))
        for r in folds
    )
    lambdas = tuple(unseen["result"]["lambdas"])
    found = LambdaSelection(lambdas, paths, folds=5, total=25)
    return found, unseen["result"]["scores"], parts["settled"]["result"]["scores"]
