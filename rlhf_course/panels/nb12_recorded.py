"""Notebook 12's record: seventeen methods on four data sets, five seeds each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels import Panel, charts
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.intervals import Intervals
from rlhf_lib.panels.theme import GREY

from ..claims import interval
from ..experiments.nb12_record import RegularizerRecord
from ..studies import nb12_regularizers as study
from ..table import Table

COIN = 0.693

DATA = {
    "reviews, 0 % wrong": "reviews-0",
    "reviews, 20 % wrong": "reviews-20",
    "reviews, 40 % wrong": "reviews-40",
    "SST-2": "sst2",
}
PARTS = {
    "l1": "L1",
    "l2": "L2",
    "l2sp": "L2-SP",
    "l1sp": "L1-SP",
    "none": "alone",
    "elastic-net": "elastic net",
    "group-lasso": "group lasso",
}
VERSUS = {"rlhf none": "against RLHF alone", "adamw stopped": "against AdamW stopped"}
SIGNS = {"for": "+", "against": "−", "no difference": "=", "open": "·"}


def named(method: str) -> str:
    """'rlhf l2sp' as it is shown: 'RLHF L2-SP'."""
    optimizer, part = method.split()
    return f"{'RLHF' if optimizer == 'rlhf' else 'AdamW'} {PARTS.get(part, part)}"


def ranked(record: RegularizerRecord, data: str) -> list[str]:
    """The methods by mean test loss, the best first."""
    return sorted(study.METHODS, key=lambda m: record.mean(data, m, "test_loss"))


def ranking(record: RegularizerRecord, data: str) -> Figure:
    """Test losses of all methods with the interval of their mean."""
    methods = ranked(record, data)
    rows = {}
    for method in methods:
        low, high = interval(record.measure(data, method, "test_loss"))
        rows[named(method)] = (record.mean(data, method, "test_loss"), low, high)
    stopped = record.mean(data, "adamw stopped", "test_loss")
    ahead = [named(m) for m in methods if record.mean(data, m, "test_loss") < stopped]
    title = next(name for name, key in DATA.items() if key == data)
    return charts.ranking(
        rows,
        lines={"AdamW stopped early": stopped, "a coin": COIN},
        marked=[name for name in rows if name.startswith("RLHF")],
        title=f"Test loss, {title} (recorded)",
        x_range=[0.4, 1.2],
        x_title="nats: mean of five seeds, its 95 % interval",
        readout=f"Below AdamW stopped early: {', '.join(ahead)}; the highest: "
        f"{named(methods[-1])}, {record.mean(data, methods[-1], 'test_loss'):.3f}. "
        "Diamonds are RLHF.",
    )


def comparison(record: RegularizerRecord) -> Panel:
    """Test loss and calibration error of all methods on one of the four data sets."""

    def rows(data: str, measure: str) -> dict[str, tuple[Sequence[float], float, float]]:
        found = {}
        for method in ranked(record, data):
            values = record.measure(data, method, measure)
            found[named(method)] = (values, *interval(values))
        return found

    def show(data):
        yield {name: rows(DATA[data], name) for name in ("test_loss", "ece")}

    def read(records: Sequence[Any], values: Mapping[str, Any]) -> str:
        data = DATA[values["data"]]
        methods = ranked(record, data)
        mine = next(m for m in methods if m.startswith("rlhf"))
        said = [
            f"{named(m)} {record.mean(data, m, 'test_loss'):.3f} (at {record.value(data, m)})"
            for m in (methods[0], mine, methods[-1])
        ]
        return (
            f"{values['data']}, sorted by mean test loss. Lowest: {said[0]}; the best of RLHF: "
            f"{said[1]}; highest: {said[2]}."
        )

    names = {"y_title": "method", "height": 400}
    both = [
        Intervals(
            lambda r: r["test_loss"],
            len(study.METHODS),
            x_range=[0.4, 1.5],
            title="Test loss at the end",
            x_title="cross-entropy in nats",
            **names,
        ),
        Intervals(
            lambda r: r["ece"],
            len(study.METHODS),
            x_range=[0, 0.45],
            title="Calibration error at the end",
            x_title="ECE",
            **names,
        ),
    ]
    line = {"color": GREY, "width": 1.5, "dash": "dash"}
    both[0].fix(
        go.Scatter(
            x=[COIN] * 3,
            y=[-len(study.METHODS) + 0.5, 1.1 - len(study.METHODS), 0.5],
            mode="lines+text",
            line=line,
            text=["", "a coin ", ""],
            textposition="top left",
            textfont={"size": 11, "color": GREY},
            showlegend=False,
            hoverinfo="skip",
        )
    )
    return Panel(
        show,
        controls=[choices("data", "data", list(DATA), "SST-2")],
        figures=both,
        readout=read,
        title="Seventeen methods, five seeds (recorded)",
        keep=0,
    )


def signs_of(record: RegularizerRecord, method: str, other: str) -> list[str]:
    """Better (+), worse (−) than the other method, or open (·), on each of the data sets."""
    if method == other:
        return ["="] * len(DATA)
    return [SIGNS[record.gain(data, method, other).says] for data in DATA.values()]


def signs(record: RegularizerRecord) -> Figure:
    """Seed by seed against two yardsticks, on four data sets."""
    rows = {
        named(m): [*signs_of(record, m, "rlhf none"), *signs_of(record, m, "adamw stopped")]
        for m in study.METHODS
    }
    level = {"−": 0, "·": 1, "=": 1, "+": 2}
    xs = [0, 1, 2, 3, 4.4, 5.4, 6.4, 7.4]
    halves = [
        go.Heatmap(
            x=xs[part],
            y=list(range(len(rows))),
            zmin=0,
            zmax=2,
            showscale=False,
            z=[[level[sign] for sign in row[part]] for row in rows.values()],
            colorscale=[[0, "#E69F00"], [0.5, "#e4e4e4"], [1, "#56B4E9"]],
            text=[row[part] for row in rows.values()],
            texttemplate="%{text}",
            textfont={"size": 14},
            xgap=2,
            ygap=2,
            hoverinfo="skip",
        )
        for part in (slice(0, 4), slice(4, 8))
    ]
    columns = [name.removeprefix("reviews, ").removesuffix(" wrong") for name in DATA] * 2
    layout = {
        "xaxis": {"tickvals": xs, "ticktext": columns, "showgrid": False},
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": list(rows),
            "ticks": "",
            "showgrid": False,
        },
        "margin": {"l": 150, "t": 54},
        "annotations": [
            {
                "text": text,
                "x": x,
                "xref": "x",
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12},
            }
            for text, x in zip(VERSUS.values(), (1.5, 5.9), strict=True)
        ],
    }
    return Figure(
        charts.still(halves),
        title="Gain in test loss, beyond chance",
        height=92 + 20 * len(rows),
        x_range=[-0.5, 7.9],
        y_range=[len(rows) - 0.5, -0.5],
        layout=layout,
        readout="Against AdamW stopped early "
        f"{sum(row[4:].count('+') for row in rows.values())} places are better and "
        f"{sum(row[4:].count('−') for row in rows.values())} worse.",
    )


MEASURES = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "accuracy",
    "ece": "ECE",
    "weight_norm": "norm",
    "distance": "distance",
    "zeros": "zeros",
    "unmoved": "unmoved",
    "cost": "cost",
}


def means(record: RegularizerRecord, data: str) -> Table:
    """All measures of all methods on a data set."""
    return Table(
        [
            {"": named(method), "value": f"{record.value(data, method)}"}
            | {name: record.mean(data, method, key) for key, name in MEASURES.items()}
            for method in ranked(record, data)
        ],
        caption="Reviews with 20 % wrong labels, means of five seeds (recorded)",
        formats=dict.fromkeys(MEASURES.values(), ".3f")
        | {"norm": ".1f", "distance": ".1f", "cost": ".1f"},
    )


def l2_and_decay(record: RegularizerRecord) -> Table:
    """The values that L2 and decay were given, and what L2 then gets right."""
    return Table(
        [
            {
                "data": name,
                "λ of RLHF with L2": record.value(data, "rlhf l2"),
                "what it gets right": record.mean(data, "rlhf l2", "test_accuracy"),
                "decay of AdamW": record.value(data, "adamw decay"),
                "what that gets right": record.mean(data, "adamw decay", "test_accuracy"),
            }
            for name, data in DATA.items()
        ],
        caption="Two kinds of pull to zero, as chosen (recorded)",
        formats={
            "λ of RLHF with L2": "g",
            "decay of AdamW": "g",
            "what it gets right": ".3f",
            "what that gets right": ".3f",
        },
    )
