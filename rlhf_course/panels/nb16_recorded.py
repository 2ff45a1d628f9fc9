"""Notebook 16's map, from the record: a panel, a figure and the table that decides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from rlhf_lib.panels import Panel
from rlhf_lib.panels import choice as options
from rlhf_lib.panels.figure import DASHES, PALETTE, Figure
from rlhf_lib.panels.intervals import Intervals

from ..experiments.nb16_record import AXES, LEVEL, OPEN, OURS, RANK, MapRecord, Place
from ..studies import nb16_map as study
from ..studies import nb16_untuned
from ..table import Table
from ..verdicts.comparison import AGAINST, FOR, SAME, Comparison

TITLES = {name: problem.title for name, problem in study.PROBLEMS.items()}
SETTINGS = {"lr": "learning rate", "damping": "μ", "probe_lambda": "λ"}
NAMES = {study.TUNED: "RLHF tuned", study.DEFAULTS: "RLHF"}
CONDITION = f"h₁/h{''.join('₀₁₂₃₄₅₆₇₈₉'[int(d)] for d in str(RANK))}"


def landscape(record: MapRecord) -> Panel:
    """Who is ahead on all problems, and the curves of one of them."""

    def show(axis, problem, rlhf):
        axis, name = AXES[axis], _key(TITLES, problem)
        mine = _key(NAMES, rlhf)
        yield {
            "rows": {
                TITLES[p]: _row(record.place(p, axis, mine))
                for p in study.PROBLEMS
                if study.PROBLEMS[p].unit == "decades"
            },
            "curves": {m: record.curve(name, m, axis) for m in study.methods(name)},
            "start": record.start(name),
        }

    def curves(records: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
        if not records:
            return []
        found, traces = records[-1], []
        for i, (name, (_, errors)) in enumerate(found["curves"].items()):
            ours = name in OURS
            traces.append(
                go.Scatter(
                    x=study.SHARES[-len(errors) :] if errors else [],
                    y=[e / found["start"] for e in errors],
                    name=NAMES.get(name, name),
                    mode="lines+markers",
                    marker={"symbol": i, "size": 6},
                    line={
                        "color": PALETTE[i % len(PALETTE)],
                        "dash": DASHES[i % len(DASHES)],
                        "width": 3 if ours else 1.5,
                    },
                )
            )
        return traces

    def read(records: Sequence[Any], values: Mapping[str, Any]) -> str:
        axis, name = AXES[values["axis"]], _key(TITLES, values["problem"])
        place = record.place(name, axis, _key(NAMES, values["rlhf"]))
        ours = record.error(name, place.mine, axis)
        other = record.error(name, place.nearest, axis)
        return (
            f"{values['problem']}, {values['axis']} ({budget(name, axis)}): "
            f"{study.PROBLEMS[name].measure} {ours:.2g} by {values['rlhf']}, {other:.2g} by "
            f"{place.nearest}, the nearest. {words(place)}"
        )

    return Panel(
        show,
        controls=[
            options("axis", "at", list(AXES), "equal CPU seconds"),
            options("problem", "problem", list(TITLES.values())),
            options("rlhf", "RLHF", list(NAMES.values())),
        ],
        figures=[
            Intervals(
                lambda found: found["rows"],
                sum(p.unit == "decades" for p in study.PROBLEMS.values()),
                title="How far RLHF is ahead of the nearest",
                x_title="decades: right of 0 RLHF is ahead",
                x_range=[-4, 4],
                y_title="problem",
                height=340,
            ),
            Figure(
                curves,
                title="The chosen problem: error over that at the start",
                x_title="share of the budget",
                y_title="error / first error",
                x_range=[0.03, 1],
                x_log=True,
                y_range=[1e-6, 3],
                y_log=True,
                height=340,
                legend=True,
            ),
        ],
        readout=read,
        title="Seven problems, six methods (recorded)",
        keep=0,
    )


def budget(problem: str, axis: str) -> str:
    """In words."""
    most = study.BUDGETS[problem]
    if axis == study.GRADIENTS:
        return f"{most.gradients:g} gradients"
    return f"{most.seconds:g} CPU seconds"


def words(place: Place) -> str:
    """Who is ahead, in a sentence."""
    seeds = len(place.gain.benefits)
    return {
        "RLHF": "RLHF is ahead of all others.",
        LEVEL: "No difference that matters.",
        OPEN: f"{seeds} seeds do not tell who is ahead.",
    }.get(place.winner, f"{place.winner} is ahead of RLHF.")


def by(place: Place) -> str:
    """How far RLHF is ahead of the nearest, with its interval."""
    low, high = place.gain.interval
    return f"{place.gain.mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def decisions(record: MapRecord, axis: str, mine: str = study.TUNED) -> Table:
    """One row a problem: what it is like, who is ahead, by how much."""
    rows = []
    for name, problem in study.PROBLEMS.items():
        place, sizes = record.place(name, axis, mine), record.sizes[name]
        rows.append(
            {
                "problem": problem.title,
                "weights": sizes["parameters"],
                "samples × outputs": f"{sizes['samples']:,} × {sizes['outputs']}",
                CONDITION: record.condition(name),
                "budget": budget(name, axis),
                "ahead": place.winner,
                "the nearest": place.nearest,
                "RLHF ahead by": f"{by(place)} {place.gain.unit}",
            }
        )
    return Table(
        rows,
        caption=f"{NAMES[mine]} at {_key(AXES, axis)}, {len(study.SEEDS)} seeds (recorded)",
        formats={"weights": ",", CONDITION: ".1e"},
    )


def when(record: MapRecord) -> Table:
    """What to use for a problem like one of these, by the price that one pays."""
    rows = []
    for name, problem in study.PROBLEMS.items():
        row = {"a problem like": problem.title}
        for axis, key in AXES.items():
            found = {NAMES[mine]: record.place(name, key, mine) for mine in OURS}
            row[axis] = _use(found)
        rows.append(row)
    return Table(rows, caption="Ahead beyond chance, by the record")


def head_gains(document: Mapping[str, Any]) -> dict[str, list[Comparison]]:
    """Of the study nb16_head: method -> how far leave-one-out is ahead of it, one a setting."""
    losses: dict[tuple, dict[str, list[float]]] = {}
    for run in document["runs"]:
        setting = run["settings"]
        if setting["part"] == "losses":
            cell = losses.setdefault((setting["data"], setting["n"], setting["noise"]), {})
            for method, found in run["result"]["losses"].items():
                cell.setdefault(method, []).extend(found)
    gains: dict[str, list[Comparison]] = {}
    for setting, cell in losses.items():
        ours = cell["leave-one-out"]
        for method, theirs in cell.items():
            if method != "leave-one-out":
                benefits = tuple(b - a for a, b in zip(ours, theirs, strict=True))
                gains.setdefault(method, []).append(
                    Comparison(f"{setting}: leave-one-out against {method}", benefits, "nats")
                )
    return gains


def heads(document: Mapping[str, Any]) -> Table:
    """Leave-one-out against every other way to fit a head, counted over the settings."""
    seconds = [r["result"] for r in document["runs"] if r["settings"]["part"] == "seconds"]
    ours = statistics.median(found["leave-one-out"] for found in seconds)
    rows = []
    for method, gains in head_gains(document).items():
        said = [gain.says for gain in gains]
        rows.append(
            {
                "against": method,
                "leave-one-out ahead": said.count(FOR),
                "no difference": said.count(SAME),
                "behind": said.count(AGAINST),
                "open": said.count(OPEN),
                "mean gain (nats)": statistics.fmean(gain.mean for gain in gains),
                "its CPU seconds": statistics.median(found[method] for found in seconds),
            }
        )
    return Table(
        rows,
        caption=f"{len(said)} settings, 30 draws each; leave-one-out takes {ours:.2f} CPU s "
        "(recorded)",
        formats={"mean gain (nats)": "+.3f", "its CPU seconds": ".2f"},
    )


def regrets(document: Mapping[str, Any]) -> dict[str, dict[tuple, list[float]]]:
    """Of the study nb16_untuned: method -> setting -> mean loss above its own best, by AWAY."""
    found: dict[str, dict[tuple, list[float]]] = {}
    for method in nb16_untuned.METHODS:
        cells: dict[tuple, list[list[float]]] = {}
        for run in document["runs"]:
            cell = run["settings"]["data"], run["settings"]["noise"]
            cells.setdefault(cell, []).append(run["result"][method])
        means = {
            c: [statistics.fmean(column) for column in zip(*rows, strict=True)]
            for c, rows in cells.items()
        }
        found[method] = {c: [m - min(row) for m in row] for c, row in means.items()}
    return found


def untuned(document: Mapping[str, Any]) -> Table:
    """What each method loses where its one setting is off, against its own best."""
    times = [f"{times:.2g} ×" for times in nb16_untuned.AWAY]
    rows = []
    for method, cells in regrets(document).items():
        _, setting, default = nb16_untuned.METHODS[method]
        means = [statistics.fmean(column) for column in zip(*cells.values(), strict=True)]
        worst = max(max(row) for row in cells.values())
        name = SETTINGS[setting]
        rows.append(
            {"": method, "setting": f"{name} = {default:g}"}
            | dict(zip(times, means, strict=True))
            | {"at worst": worst}
        )
    return Table(
        rows,
        caption=f"Test loss above the method's own best, in nats: mean of {len(cells)} settings of "
        f"{len(nb16_untuned.SEEDS)} draws (recorded)",
        formats=dict.fromkeys([*times, "at worst"], ".3f"),
    )


def _use(places: Mapping[str, Place]) -> str:
    """Whichever RLHF is ahead of all others, else what is known of the tuned one."""
    ahead = [name for name, place in places.items() if place.winner == "RLHF"]
    return ahead[0] if ahead else places[NAMES[study.TUNED]].winner


def _row(place: Place) -> tuple[Sequence[float], float, float]:
    return place.gain.benefits, *place.gain.interval


def _key(names: Mapping[str, str], wanted: str) -> str:
    """The key of this value."""
    return next(k for k, v in names.items() if v == wanted)
