"""Notebook 15: what a step will cost, how far the prediction is off, and ends of a spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlhf_lib.panels import Panel, charts, slider
from rlhf_lib.panels import choice as drop_down
from rlhf_lib.panels.bands import Bands
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, number
from ..cost.calibration import Machine
from ..cost.model import Transformer, dense_hessian_bytes
from .sketch import Sketch

number(
    "15.product",
    "A gradient of a transformer takes three times the multiplications of its forward pass. How "
    "many times those of a forward pass does a product with H take, on a kept graph?",
    truth=6,
    within=0.5,
    unit="forward passes",
    why="Double backward passes through all three products once more, with two new ones each. A "
    "product with G takes 4.",
)
choice(
    "15.tokens",
    "A step of MiniLM on 16 sentences: 128 tokens in each in place of 64. How much more time and "
    "memory?",
    [
        "about twice the time, twice the memory",
        "about twice the time, clearly less than twice the memory",
        "clearly less than twice the time, twice the memory",
        "four times the time, twice the memory",
    ],
    truth=1,
    why="Most work is in the weight matrices, once for each token. Of the memory the vectors, as "
    "long as all weights, do not grow at all.",
)
number(
    "15.four",
    "Ten products with G for BERT-base on 32 sentences take, say, 100 seconds on one machine. How "
    "long do four machines take that are joined by a network of 1 Gbit a second?",
    truth=78,
    within=8,
    unit="seconds",
    why="Each has a quarter of the sentences, 25 seconds; the sum of a vector of 438 MB takes "
    "another five seconds, ten times.",
)

LONGEST = "tokens T = 128,"  # a line of the name of a former run
LENGTHS = (8, 16, 32, 64, 128, 256, 512)
# An axis of tokens counts them.
IN_POWERS = {"xaxis": {"tickvals": list(LENGTHS), "ticktext": [str(T) for T in LENGTHS]}}
WORKERS = range(1, 17)
PRODUCTS = {"G": "Gv", "H": "Hv"}


# -- the record ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A recorded case: `seconds` maps a pass to (work, seconds), `peaks` one to (memory, bytes)."""

    shape: Transformer
    batch: int
    tokens: int
    seconds: Mapping[str, tuple[Any, float]]
    peaks: Mapping[str, tuple[Any, float]]


def cases(document: Mapping[str, Any]) -> tuple[list[Case], list[Case]]:
    """The cases of the record that calibrate a machine, and those that test it."""
    found: dict[bool, list[Case]] = {True: [], False: []}
    for run in document["runs"]:
        s, result = run["settings"], run["result"]
        shape, at = Transformer(*s["sizes"]), (s["batch"], s["tokens"])
        work = {
            what: shape.cg("Gv", *at, 5) if what == "cg Gv" else shape.work(what, *at)
            for what in result["seconds"]
        }
        seconds = {what: (work[what], took) for what, took in result["seconds"].items()}
        peaks = {what: (shape.memory(what, *at), peak) for what, peak in result["peaks"].items()}
        found[s["calibrates"]].append(Case(shape, *at, seconds, peaks))
    return found[True], found[False]


def pairs(machine: Machine, found: Sequence[Case]) -> dict[str, list[tuple[float, float]]]:
    """(measured, predicted) of "whole steps" and "single passes" in seconds, "memory" in bytes."""
    made: dict[str, list[tuple[float, float]]] = {
        "whole steps": [],
        "single passes": [],
        "memory": [],
    }
    for case in found:
        for what, (work, took) in case.seconds.items():
            kind = "whole steps" if what == "cg Gv" else "single passes"
            made[kind].append((took, machine.seconds(work)))
        for held, peak in case.peaks.values():
            made["memory"].append((peak, machine.peak_bytes(held)))
    return made


def against(
    shown: Mapping[str, Sequence[tuple[float, float]]], title: str, unit: str, span: Sequence[float]
) -> Any:
    """A chart of predicted against measured, with the diagonal and a band of 25 %."""
    ends = [math.exp(math.log(span[0]) + i / 20 * math.log(span[1] / span[0])) for i in range(21)]
    series: dict[str, Any] = {"as measured": (ends, ends)}
    series |= {name: tuple(zip(*points, strict=True)) for name, points in shown.items()}
    kinds = {"as measured": "lines"} | dict.fromkeys(shown, "markers")
    told = [
        f"of {len(points)} {name} {sum(0.75 <= p / m <= 1.25 for m, p in points)} lie in the "
        f"band, {min(p / m for m, p in points):.2f} to {max(p / m for m, p in points):.2f} "
        "times the measured"
        for name, points in shown.items()
    ]
    return charts.chart(
        series,
        kind=kinds,
        title=title,
        x_title=f"measured ({unit})",
        y_title=f"predicted ({unit})",
        bands={"as measured": ([0.75 * x for x in ends], [1.25 * x for x in ends])},
        legend=True,
        x_log=True,
        y_log=True,
        x_range=span,
        y_range=span,
        height=340,
        readout=f"The band is 25 % to either side: {'; '.join(told)}.",
    )


def outside(machine: Machine, found: Sequence[Case]) -> list[dict[str, Any]]:
    """The single passes whose prediction is off by more than 25 %, as rows of a table."""
    rows = [
        {
            "pass": what,
            "hidden size": case.shape.hidden,
            "sentences x tokens": f"{case.batch} x {case.tokens}",
            "measured (ms)": 1000 * took,
            "predicted / measured": machine.seconds(work) / took,
        }
        for case in found
        for what, (work, took) in case.seconds.items()
        if what != "cg Gv"
    ]
    far = [row for row in rows if not 0.75 <= row["predicted / measured"] <= 1.25]
    return sorted(far, key=lambda row: row["predicted / measured"])


# -- the panel ----------------------------------------------------------------------------------

StepSeconds = Callable[..., tuple[float, float]]


def step(
    step_seconds: StepSeconds,
    machine: Machine,
    shapes: Mapping[str, Transformer],
    networks: Sequence[str],
    recorded: Sequence[Case],
) -> Panel:
    """`step_seconds(shape, batch, tokens, products, what, workers, network)` gives the seconds of
    the slowest worker's own work and those of all all-reduces."""

    def gigabytes(size: Transformer, batch: int, tokens: int, kind: str, workers: int) -> float:
        held = size.memory(f"cg {kind}", math.ceil(batch / workers), tokens)
        return machine.peak_bytes(held) / 1e9

    def plan(shape, batch, tokens, products, what, workers, network) -> Iterator[Record]:
        size, kind = shapes[shape], PRODUCTS[what]

        def took(tokens: int, workers: int) -> tuple[float, float]:
            return step_seconds(size, batch, tokens, products, kind, workers, network)

        lengths = [T for T in LENGTHS if T <= size.positions]
        own, sent = took(tokens, workers)
        known = [
            c
            for c in recorded
            if c.shape == size and c.batch == batch and (products, workers) == (5, 1)
        ]
        yield Record(
            step=1,
            loss=own + sent,
            extra={
                "own": own,
                "sent": sent,
                "gigabytes": gigabytes(size, batch, tokens, kind, workers),
                "seconds": [(T, sum(took(T, workers))) for T in lengths],
                "memory": [(T, gigabytes(size, batch, T, kind, workers)) for T in lengths],
                "by_workers": {w: sum(took(tokens, w)) for w in WORKERS},
                "seen seconds": [(c.tokens, c.seconds["cg Gv"][1]) for c in known if kind == "Gv"],
                "seen memory": [
                    (c.tokens, c.peaks["cg Hv"][1] / 1e9) for c in known if kind == "Hv"
                ],
                "unit": machine.seconds(size.work("gradient", batch, tokens)),
            },
        )

    panel_axes = {"x_title": "tokens in a text", "x_range": [7, 600], "x_log": True, "y_log": True}
    over_tokens = [
        Bands(
            {"predicted": _band(column)},
            marks={"recorded": _mark(f"seen {column}")},
            title=title,
            y_title=unit,
            y_range=span,
            layout=IN_POWERS,
            **panel_axes,
        )
        for column, title, unit, span in (
            ("seconds", "Seconds of one step", "seconds", [1e-1, 1e6]),
            ("memory", "Memory of each worker", "GB", [1e-1, 1e4]),
        )
    ]
    efficiency = Sketch(
        _efficiency,
        {"efficiency": "line", "chosen": "mark"},
        ghosts=["efficiency"],
        named=["efficiency"],
        room=LONGEST,
        title="Efficiency, and the chosen workers",
        x_title="workers K",
        y_title="efficiency",
        x_range=[0.5, 16.5],
        y_range=[0, 1.05],
        goal={"y": 0.5},
    )
    return Panel(
        plan,
        controls=[
            drop_down("shape", "model", list(shapes), "MiniLM"),
            slider("batch", "sentences", low=1, high=64, step=1, value=16),
            slider("tokens", "tokens T", low=8, high=512, step=8, value=32),
            slider("products", "products", low=1, high=40, step=1, value=5),
            drop_down("what", "products with", list(PRODUCTS), "G"),
            slider("workers", "workers", low=1, high=16, step=1, value=1),
            drop_down("network", "network", list(networks), "1 Gbit/s"),
        ],
        figures=[over_tokens[0], efficiency, over_tokens[1]],
        readout=lambda records, values: _read_step(
            records[-1].extra, values, shapes[values["shape"]].parameters
        ),
        title="What a step will cost",
        keep=2,
        goal="BERT-base, 32 x 128 tokens, 10 products with G, 1 Gbit/s: the most workers with an "
        "efficiency of at least one half",
        reached=reached("15.workers"),
    )


def _band(column: str) -> Callable[[Record], Any]:
    return lambda record: tuple(
        zip(*((x, y, y / 1.25, y * 1.25) for x, y in record.extra[column]), strict=True)
    )


def _mark(column: str) -> Callable[[Record], Any]:
    return lambda record: next(iter(record.extra[column]), None)


def _efficiency(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    by_workers = records[-1].extra["by_workers"]
    share = {w: by_workers[1] / (w * t) for w, t in by_workers.items()}
    mine = values["workers"]
    return {"efficiency": (list(share), list(share.values())), "chosen": ([mine], [share[mine]])}


def _read_step(e: Mapping[str, Any], values: Mapping[str, Any], parameters: int) -> str:
    total, workers = e["own"] + e["sent"], values["workers"]
    return (
        f"{values['shape']}, {values['tokens']} tokens: a step takes about {total:.3g} s "
        f"({total / e['unit']:.1f} gradients of one worker), of which the network "
        f"{e['sent']:.3g} s; efficiency {e['by_workers'][1] / (workers * total):.0%}. Each worker "
        f"needs about {e['gigabytes']:.3g} GB; the dense Hessian would take "
        f"{dense_hessian_bytes(parameters) / 1e15:.3g} PB."
    )


def doubled(curves: Mapping[str, Sequence[float]], readout: str) -> Any:
    """A chart of what twice the tokens cost, over the tokens before: 8, 16, and so on."""
    return charts.chart(
        {name: (LENGTHS[:-1], ys) for name, ys in curves.items()},
        kind="lines+markers",
        title="Twice the tokens: times as much",
        x_title="tokens, to be doubled",
        y_title="times as much",
        x_log=True,
        x_range=[7, 300],
        y_range=[1, 2.7],
        lines={"twice": 2},
        layout=IN_POWERS,
        readout=readout,
    )


# -- a spectrum ---------------------------------------------------------------------------------


def ritz(alpha: Iterable[float], beta: Iterable[float]) -> list[list[float]]:
    """The Ritz values after 1, 2, 3, ... products, from the entries of the tridiagonal matrix."""
    a, b = torch.as_tensor(alpha), torch.as_tensor(beta)
    T = torch.diag(a) + torch.diag(b, 1) + torch.diag(b, -1)
    return [torch.linalg.eigvalsh(T[:k, :k]).tolist() for k in range(1, len(a) + 1)]


def approach(values: Sequence[Sequence[float]], eigenvalues: Sequence[float], readout: str) -> Any:
    """A chart of the Ritz values after each product, and of all eigenvalues at its right."""
    last = len(values) + 3
    points = [(k, x) for k, row in enumerate(values, 1) for x in row]
    return charts.chart(
        {
            "Ritz values": tuple(zip(*points, strict=True)),
            "all eigenvalues": ([last] * len(eigenvalues), list(eigenvalues)),
        },
        kind="markers",
        legend=True,
        title="Ritz values close in on the ends",
        x_title="products",
        y_title="eigenvalue",
        x_range=[0, last + 1],
        y_range=[min(eigenvalues) - 0.15, max(eigenvalues) + 0.15],
        height=340,
        readout=readout,
    )


def spectra(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> Panel:
    """`found` maps a matrix and its epochs to recorded Ritz values, shares and bounds."""

    def chosen(matrix: str, epochs: str) -> Iterator[Record]:
        result = found[matrix, int(epochs)]
        yield Record(step=1, loss=result["loss"], extra=result)

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        r = records[-1].extra
        return (
            f"{values['matrix']} after {values['epochs']} epochs, loss {r['loss']:.3f}: least Ritz "
            f"value {r['ritz_values'][0]:.3g}, greatest {r['ritz_values'][-1]:.3g}; in exact "
            f"arithmetic these would be off by at most {r['bounds'][0]:.1g} and "
            f"{r['bounds'][-1]:.1g}, and 32-bit floats add about {1e-5 * r['ritz_values'][-1]:.0e}."
        )

    return Panel(
        chosen,
        controls=[
            drop_down("matrix", "matrix", ["H", "G"]),
            drop_down("epochs", "epochs", ["0", "4"], "4"),
        ],
        figures=[
            Sketch(
                _stems,
                {"share of each Ritz value": "path"},
                y_log=True,
                title="Where the eigenvalues are (recorded)",
                x_title="eigenvalue",
                y_title="share of all eigenvalues",
                x_range=[-12, 16],
                y_range=[1e-11, 3],
            ),
            _ranked(),
        ],
        readout=read,
        title="The spectrum of 22.6 million weights",
        keep=0,
    )


def _ranked() -> Any:
    """The Ritz values by size, the negative ones marked."""
    return Sketch(
        _sizes,
        {"positive": "points", "negative": "points"},
        y_log=True,
        title="Their sizes; squares are negative",
        x_title="rank by size",
        y_title="|Ritz value|",
        x_range=[0, 21],
        y_range=[1e-13, 300],
    )


def _stems(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    r = records[-1].extra
    xs: list[float] = []
    ys: list[float] = []
    for value, share in zip(r["ritz_values"], r["weights"], strict=True):
        xs += [value, value, math.nan]
        ys += [1e-11, max(share, 1e-11), math.nan]
    return {"share of each Ritz value": (xs, ys)}


def _sizes(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
    ranked = sorted(records[-1].extra["ritz_values"], key=abs, reverse=True)
    split: dict[str, Any] = {"positive": ([], []), "negative": ([], [])}
    for rank, value in enumerate(ranked, 1):
        xs, ys = split["positive" if value > 0 else "negative"]
        xs.append(rank)
        ys.append(abs(value))
    return split
