"""Notebook 12: ten regularizers on BERT's pooler, and the record of seventeen methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels import Panel, charts, figures, log_slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import Figure
from rlhf_lib.panels.histogram import Histogram
from rlhf_lib.panels.intervals import Intervals
from rlhf_lib.panels.theme import GREY
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, number
from ..claims import interval
from ..experiments.nb12_record import RegularizerRecord
from ..studies import nb12_regularizers as study
from ..table import Table

COIN = 0.693
NOISE = {"0 % wrong": 0.0, "20 % wrong": 0.2, "40 % wrong": 0.4}
PENALTIES = {
    "L1": "l1",
    "L2": "l2",
    "elastic net": "elastic-net",
    "pseudo-Huber": "pseudo-huber",
    "group lasso": "group-lasso",
    "L2-SP": "l2sp",
    "L1-SP": "l1sp",
}
OTHERS = ("dropout", "label smoothing", "decoupled decay")
METHODS = {"RLHF": "rlhf", "AdamW": "adamw"}

number(
    "12.exact",
    "How many of the seven penalties make something exact: weights that are zero, or that are as "
    "they began?",
    truth=4,
    within=0,
    why="Those with a kink: L1 and elastic net make single zeros, the group lasso whole rows, and "
    "L1-SP leaves weights where they began. L2, pseudo-Huber and L2-SP make nothing exact.",
)
choice(
    "12.list",
    "You send a fine-tuned model to somebody who has the pre-trained one, as a list of the weights "
    "that changed. Which penalty gives the shortest list?",
    list(PENALTIES),
    truth=6,
    why="Its kink lies where each weight began, so most weights stay exactly there.",
)
choice(
    "12.decay",
    "AdamW with weight decay, and Adam with an L2 penalty: are they the same?",
    [
        "yes: both take ηλw off a weight",
        "no: the penalty holds weights with large gradients less",
        "no: the penalty holds weights with large gradients more",
    ],
    truth=1,
    why="Adam divides the penalty's pull by the size of the gradients, too.",
)


def settings(kind: str, strength: float, method: str = "RLHF") -> dict[str, Any]:
    """What a run is given for a regularizer of the panel at this strength."""
    made: dict[str, Any] = {"method": METHODS[method]}
    if kind == "dropout":
        made["dropout"] = min(strength, 0.9)
    elif kind == "label smoothing":
        made["smoothing"] = min(strength, 0.9)
    elif kind == "decoupled decay":
        made = {"method": "adamw", "lambda_reg": strength}
    elif kind != "none":
        made |= {"regularizer": PENALTIES[kind], "lambda_reg": strength}
        if method == "AdamW":
            made["coupled"] = True
    return made


def regularizers(train: Callable[..., Iterable[Record]], samples: int) -> Panel:
    """`train(noise, method=, ...)` yields a run's records, see `settings`; `samples` are a
    gradient's."""

    def generate(kind, strength, labels, method):
        yield from train(NOISE[labels], **settings(kind, strength, method))

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        last, best = records[-1], min(records, key=lambda r: r.val_loss)
        m = last.extra
        return (
            f"Step {last.step}: training loss {last.train_loss:.3f}, validation loss "
            f"{last.val_loss:.3f} (accuracy {last.val_accuracy:.3f}, calibration error "
            f"{m['ece']:.3f}), least {best.val_loss:.3f} at step {best.step}. Exactly 0: "
            f"{m['zeros']:.1%} of the weights; exactly as they began: {m['unmoved']:.1%}. Distance "
            f"from the start {m['distance']:.2f}, norm {m['weight_norm']:.2f}. Cost "
            f"{last.cost / samples:.0f} gradients."
        )

    steps = {"x_title": "step (AdamW: epoch)", "x_range": [0, 8.2]}
    return Panel(
        generate,
        controls=[
            choices("kind", "regularizer", ["none", *PENALTIES, *OTHERS], "L1"),
            log_slider("strength", "strength", low=1e-5, high=10, value=1e-4, zero=True),
            choices("labels", "labels", list(NOISE), "20 % wrong"),
            choices("method", "method", list(METHODS)),
        ],
        figures=[
            figures.Curves(
                {"validation loss": "val_loss", "training loss": "train_loss"},
                marker_at_min="validation loss",
                title="Losses",
                goal={"y": 0.68},
                y_title="cross-entropy in nats",
                y_range=[0, 1.6],
                **steps,
            ),
            figures.Curves(
                {"exactly 0": _extra("zeros"), "as they began": _extra("unmoved")},
                title="What is exact",
                goal={"y": (0.95, 1.03)},
                y_title="share of the weights",
                y_range=[-0.03, 1.03],
                **steps,
            ),
            figures.Curves(
                {"from the start": _extra("distance"), "from zero": _extra("weight_norm")},
                title="How far, and how large",
                y_title="distance (2-norm)",
                y_range=[0, 10],
                **steps,
            ),
            Histogram(
                {
                    "before": _extra("weights before"),
                    "now": _extra("weights now"),
                    "change": _extra("change"),
                },
                most=1e6,
                title="Weights by size, in thirds of a decade",
                x_title="modulus of a weight, or of its change",
                y_title="how many",
            ),
        ],
        readout=read,
        total=9,
        title="Ten regularizers, two optimizers",
        goal="95 % of the weights exactly as they began, and a validation loss that ends below "
        "0.68, within 0.05 of its least value",
        keep=2,
        reached=reached("12.few_changes"),
    )


def _extra(name: str) -> Callable[[Record], Any]:
    return lambda record: record.extra.get(name)


# -- runs of the panel, side by side ------------------------------------------------------------

Runs = Mapping[str, Sequence[Record]]


def exact(runs: Runs) -> Figure:
    """Which share of the weights is exact at the end of each run."""
    rows = {
        kind: [run[-1].extra[name] for name in ("zeros", "unmoved")] for kind, run in runs.items()
    }
    made = [kind for kind, row in rows.items() if max(row) > 0.5]
    return charts.cells(
        ["exactly 0", "exactly as they began"],
        list(rows),
        list(rows.values()),
        digits=2,
        title="Share of the weights that is exact",
        height=300,
        readout=f"Most weights are exact with {', '.join(made)}.",
    )


def losses(runs: Runs) -> Figure:
    """Validation loss at the end of each run, and back to the least on its way, the best first."""
    rows = {}
    for kind in sorted(runs, key=lambda kind: runs[kind][-1].val_loss):
        end, least = runs[kind][-1].val_loss, min(r.val_loss for r in runs[kind])
        rows[kind] = (end, least, end)
    return charts.ranking(
        rows,
        lines={"a coin": COIN},
        title="Validation loss: the end and the least",
        x_title="nats: a dot at the end, its line back to the least",
        x_range=[0.5, 3],
        readout=f"Without a penalty {rows['none'][0]:.2f} at the end and {rows['none'][1]:.2f} on "
        f"the way; the lowest end is {next(iter(rows.values()))[0]:.2f}.",
    )


def table(runs: Runs, strengths: Mapping[str, float]) -> Table:
    rows = [
        {
            "": kind,
            "strength": f"{strengths[kind]:g}",
            "calibration error": m["ece"],
            "distance from the start": m["distance"],
            "norm": m["weight_norm"],
        }
        for kind, m in ((kind, run[-1].extra) for kind, run in runs.items())
    ]
    return Table(
        rows,
        caption="RLHF after eight steps, 20 % of the labels wrong",
        formats={"calibration error": ".3f", "distance from the start": ".2f", "norm": ".2f"},
    )


def shrinking(sizes: Sequence[float], rest: Mapping[str, Sequence[float]]) -> Figure:
    """What several optimizers leave of weights that began at 1, by the size of the gradients."""
    return charts.cells(
        [f"{size:g}" for size in sizes],
        list(rest),
        list(rest.values()),
        digits=2,
        title="What is left of 1 after 300 steps",
        x_title="size of the gradients",
        height=240,
        readout="Plain gradient descent and AdamW take the same share at every size; Adam with an "
        "L2 penalty does not.",
    )


def residuals(left: Mapping[str, Sequence[float]]) -> Figure:
    """Relative residuals of conjugate gradients, product by product."""
    said = "; ".join(
        f"{name}: {row[-1]:.2g} after {len(row) - 1} products" for name, row in left.items()
    )
    return charts.chart(
        {name: (range(len(row)), row) for name, row in left.items()},
        kind="lines+markers",
        title="What conjugate gradients leave",
        x_title="products",
        x_range=[0, 41],
        y_title="|b − Ax| / |b|",
        y_log=True,
        y_range=[3e-4, 100],
        readout=f"{said}.",
    )


# -- the record ---------------------------------------------------------------------------------

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
SIGNS = {"for": "+", "against": "−", "open": "·"}


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
    figure = charts.Still(
        title="Gain in test loss, beyond chance",
        height=92 + 20 * len(rows),
        x_range=[-0.5, 7.9],
        y_range=[len(rows) - 0.5, -0.5],
        readout="Against AdamW stopped early "
        f"{sum(row[4:].count('+') for row in rows.values())} places are better and "
        f"{sum(row[4:].count('−') for row in rows.values())} worse.",
    )
    for part in (slice(0, 4), slice(4, 8)):
        figure.place(
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
        )
    columns = [name.removeprefix("reviews, ").removesuffix(" wrong") for name in DATA] * 2
    layout = figure.widget.axes
    figure.widget.axes = layout | {
        "xaxis": layout["xaxis"] | {"tickvals": xs, "ticktext": columns, "showgrid": False},
        "yaxis": layout["yaxis"]
        | {
            "tickvals": list(range(len(rows))),
            "ticktext": list(rows),
            "ticks": "",
            "showgrid": False,
        },
        "margin": layout["margin"] | {"l": 150, "t": 54},
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
    return figure.done()


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
