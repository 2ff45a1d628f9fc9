"""Notebook 12's records: six methods at equal gradients, and seventeen on four data sets."""

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
from ..experiments.nb12_record import CuresRecord, RegularizerRecord
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
    "linear": "with a schedule",
    "elastic-net": "elastic net",
    "group-lasso": "group lasso",
}
PROBE = "probe none"
SHORT = {"lambda_reg": "λ", "damping": "μ", "lr": "rate"}
CARELESS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("RLHF alone", {"method": "rlhf none"}, "damping"),
    ("RLHF L2-SP, λ = 1", {"method": "rlhf l2sp", "lambda_reg": 1.0}, "damping"),
    ("AdamW with a schedule", {"method": "adamw linear"}, "lr"),
    ("AdamW L2-SP, λ = 1", {"method": "adamw l2sp", "lambda_reg": 1.0}, "lr"),
)
JUDGED = {
    "train_loss": "training loss",
    "test_loss": "test loss",
    "test_accuracy": "accuracy",
    "ece": "ECE",
    "distance": "distance",
    "cost": "cost",
}


def named(method: str) -> str:
    """'rlhf l2sp' as it is shown: 'RLHF L2-SP'."""
    optimizer, part = method.split()
    if method == PROBE:
        return "the probe"
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


def gains(record: CuresRecord) -> Figure:
    """How far below the probe's test loss each method ends, with the interval of the mean."""
    rows, ahead = {}, []
    for method in by_loss(record):
        if method == PROBE:
            continue
        gain = record.gain(method, PROBE)
        rows[named(method)] = (gain.mean, *gain.interval)
        ahead += [named(method)] if gain.says == "for" else []
    far = max(abs(value) for row in rows.values() for value in row)
    return charts.ranking(
        rows,
        lines={"the probe": 0.0},
        marked=[name for name in rows if name.startswith("RLHF")],
        title="Gain in test loss over the probe (recorded)",
        x_range=[-1.05 * far, 1.05 * far],
        x_title=f"nats: mean of {len(record.seeds)} seeds, interval over seeds and sentences",
        readout=f"Right is better. Ahead of the probe beyond chance: {', '.join(ahead) or 'none'}. "
        "Diamonds are RLHF.",
    )


def judged(record: CuresRecord) -> Table:
    """What each method was given, and what came of it."""
    rows = []
    for method in by_loss(record):
        chosen = record.chosen[method]
        rows.append(
            {
                "": named(method),
                "chosen": ", ".join(
                    f"{SHORT[key]} {chosen[key]:g}" for key in SHORT if key in chosen
                ),
            }
            | {name: record.mean(method, key) for key, name in JUDGED.items()}
        )
    return Table(
        rows,
        caption=f"{record.cures.name}, means of {len(record.seeds)} seeds (recorded)",
        formats=dict.fromkeys(JUDGED.values(), ".3f") | {"distance": ".2f", "cost": ".1f"},
    )


def by_loss(record: CuresRecord) -> list[str]:
    """The methods by mean test loss, the best first."""
    return sorted(record.cures.methods, key=lambda m: record.mean(m, "test_loss"))


def careless(record: CuresRecord) -> dict[str, dict[float, float]]:
    """Mean selection loss at the end by rate, or by damping, with L2-SP at one lambda and without.

    From the runs that tuned: what comes of a setting that nobody tuned.
    """
    found: dict[str, dict[float, float]] = {}
    for name, fixed, tuned in CARELESS:
        losses: dict[float, list[float]] = {}
        for run in record.document["runs"]:
            settings = run["settings"]
            if settings["seed"] not in record.seeds and fixed.items() <= settings.items():
                losses.setdefault(settings[tuned], []).append(run["result"]["end"]["val_loss"])
        found[name] = {value: sum(losses[value]) / len(losses[value]) for value in sorted(losses)}
    return found


def untuned(record: CuresRecord) -> Table:
    """The least and the greatest of these losses, over the values that were tried."""
    return Table(
        [
            {
                "": name,
                "tried": f"{SHORT[tuned]} from {min(losses):g} to {max(losses):g}",
                "least loss": min(losses.values()),
                "greatest loss": max(losses.values()),
            }
            for (name, losses), (_, _, tuned) in zip(
                careless(record).items(), CARELESS, strict=True
            )
        ],
        caption="Selection loss at the end, by a setting that one may get wrong (recorded)",
        formats={"least loss": ".3f", "greatest loss": ".3f"},
    )
