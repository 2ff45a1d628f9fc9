"""Notebook 06: the corner of L1, four ways to meet it, and the path of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from rlhf_lib.panels import Panel, figures, log_slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.figure import DASHES, PALETTE, Figure
from rlhf_lib.panels.sizes import Sizes
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve, number
from .remembered import Remembered

# How many of the 30 weights are not zero on the path, as λ falls (a claim compares).
COUNTS = [
    0,
    2,
    2,
    3,
    4,
    4,
    4,
    4,
    4,
    4,
    4,
    7,
    8,
    8,
    8,
    9,
    9,
    9,
    9,
    11,
    11,
    11,
    11,
    12,
    13,
    15,
    15,
    16,
    16,
    17,
    18,
    17,
]

choice(
    "06.zeros",
    "Which of the four methods will have weights that are exactly zero?",
    [
        "all four",
        "all but plain autograd",
        "proximal Newton and orthant-wise Newton-CG",
        "none of them: rounding forbids it",
    ],
    truth=2,
    why="Only these two know where the corners are; the others make small numbers.",
)
number(
    "06.count",
    "How many of the 30 weights will be exactly zero with proximal Newton at λ = 0.1?",
    truth=26,
    within=2,
    why="Four weights are left; without a penalty all thirty are there.",
)
curve(
    "06.path",
    "How many of the 30 weights are not zero, as λ falls?",
    truth=COUNTS,
    axes={
        "x_range": [0.38, 0.001],
        "y_range": [0, 30],
        "x_title": "λ (falls to the right)",
        "y_title": "weights not zero",
    },
    why="They come alive a few at a time, with long pauses; near the end one goes back to zero.",
)

Run = Callable[..., Iterable[Record]]
FIRST = 12  # records: a run takes a fifth of a second, but most of it happens in its first steps


def level_sets(f: Callable[[Tensor], Tensor], by_l1: Tensor, by_l2: Tensor, **axes: Any) -> Figure:
    """The contours of f, and for two minima the contour through each and the set of equal penalty
    that it touches: a square of |θ₁| + |θ₂|, a circle of θ₁² + θ₂²."""

    def on_grid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        points = torch.tensor(np.stack([x, y], -1)).reshape(-1, 2)
        return torch.vmap(f)(points).reshape(x.shape).numpy()

    highest = max(float(f(by_l1)), float(f(by_l2)))
    levels = [-highest, *(highest * (k / 2) ** 2 for k in range(1, 8))]
    figure = figures.ContourPath(
        on_grid, levels=levels, equal=True, resolution=181, legend=True, **axes
    )
    grid = np.linspace(-2.5, 3.5, 121)
    heights = on_grid(*np.meshgrid(grid, grid)).tolist()
    around = np.linspace(0, 2 * np.pi, 121)
    size, radius = float(by_l1.abs().sum()), float(by_l2.norm())
    sets = {
        "equal |θ₁| + |θ₂|": (size * np.array([1, 0, -1, 0, 1]), size * np.array([0, 1, 0, -1, 0])),
        "equal θ₁² + θ₂²": (radius * np.cos(around), radius * np.sin(around)),
    }
    for k, ((name, (xs, ys)), point) in enumerate(zip(sets.items(), (by_l1, by_l2), strict=True)):
        figure.fix(
            go.Scatter(
                x=xs.tolist(),
                y=ys.tolist(),
                name=name,
                mode="lines",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 2.5},
            )
        )
        touched = float(f(point))
        figure.fix(
            go.Contour(
                x=grid.tolist(),
                y=grid.tolist(),
                z=heights,
                showscale=False,
                hoverinfo="skip",
                contours={"start": touched, "end": touched, "size": 1, "coloring": "none"},
                line={"color": PALETTE[k], "width": 1.5, "dash": "dot"},
                showlegend=False,
            )
        )
        figure.fix(
            go.Scatter(
                x=[float(point[0])],
                y=[float(point[1])],
                mode="markers+text",
                showlegend=False,
                marker={
                    "symbol": ["star", "diamond"][k],
                    "size": 12,
                    "color": PALETTE[k],
                    "line": {"width": 1},
                },
                text=[["with L1 ", "with L2"][k]],
                textfont={"size": 12, "color": PALETTE[k]},
                textposition=["middle left", "top right"][k],
            )
        )
    return figure.show()


# -- panel 1 -----------------------------------------------------------------------------------


def corners(minimize: Run, methods: Sequence[str], names: Sequence[str], steps: int) -> Panel:
    """`minimize(method, lambda_reg)` yields at most `steps` + 1 records with theta and
    `extra["kkt"]`, `extra["objective"]`; `names` are those of the weights."""
    watched = ("worst radius", "worst texture")
    place = {name: list(names).index(name) for name in watched}

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        last = records[-1]
        zeros, small = int((last.theta == 0).sum()), int((last.theta.abs() < 1e-3).sum())
        return (
            f"Step {last.step}: F = {last.extra['objective']:.4f}, KKT residual "
            f"{last.extra['kkt']:.1e}. Of {len(names)} weights {zeros} are exactly zero, so "
            f"{len(names) - zeros} are not; {small - zeros} more are below 0.001."
        )

    return Panel(
        minimize,
        controls=[
            choices("method", "method", list(methods)),
            log_slider("lambda_reg", "λ", low=1e-3, high=0.5, value=0.1),
        ],
        figures=[
            figures.Curves(
                {"residual": lambda r: max(r.extra["kkt"], 1e-10)},
                title="How far from a minimum?",
                x_title="step",
                y_title="KKT residual",
                x_range=[0, steps],
                y_range=[1e-10, 10],
                y_log=True,
            ),
            Sizes(
                lambda r: r.theta,
                title="The weights, by size",
                x_title="rank",
                y_title="|weight|",
                x_range=[0, len(names) + 1],
            ),
            figures.Curves(
                {
                    name: lambda r, j=j: r.theta[j] if r.step <= 20 else None
                    for name, j in place.items()
                },
                reference={"corner": ([0, 20], [0.0, 0.0])},
                title="Two of the weights, step by step",
                x_title="step",
                y_title="weight",
                x_range=[0, 20],
                y_range=[-1.5, 1.5],
            ),
        ],
        readout=read,
        total=steps + 1,
        title="L1 logistic regression on 569 tumours",
        goal="proximal Newton, exactly eight weights that are not zero",
        reached=reached("06.eight"),
        preview=lambda values: islice(minimize(**values), FIRST),
    )


# -- panel 2: the path -------------------------------------------------------------------------


def alive(theta: Tensor) -> int:
    """How many entries are not zero."""
    return int((theta != 0).sum())


def path(
    walk: Run,
    methods: Sequence[str],
    names: Sequence[str],
    grid: Sequence[float],
    theirs: Sequence[Tensor],
) -> Panel:
    """`walk(method, least)` yields a record for each λ of `grid` down to `least`, with theta and
    `extra["lambda"]`; `theirs` are scikit-learn's weights for the whole grid."""
    shown = theirs[20].abs().argsort(descending=True)[:6].tolist()
    across = {"x_title": "λ (falls to the right)", "x_range": [0.0009, 0.5], "x_log": True}
    weights = ([*grid, np.nan] * 6, [v for j in shown for v in (*(t[j] for t in theirs), np.nan)])

    def read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
        last, lam = records[-1].theta, records[-1].extra["lambda"]
        some = last.abs().argsort(descending=True)[: min(alive(last), 3)].tolist()
        return (
            f"λ = {lam:.4f}: {alive(last)} weights are not zero, {int((last.abs() > 1e-3).sum())} "
            f"are above 0.001. Largest: {', '.join(names[j] for j in some) or 'none'}."
        )

    def lam(record: Record) -> float:
        return record.extra["lambda"]

    remembered = Remembered(walk, ["method"], lambda r, values: lam(r) >= values["least"] * 0.999)
    return Panel(
        remembered,
        controls=[
            choices("method", "method", list(methods)),
            log_slider("least", "λ falls to", low=1e-3, high=0.3, value=0.03),
        ],
        figures=[
            figures.Curves(
                {names[j]: lambda r, j=j: r.theta[j] for j in shown},
                x=lam,
                reference={"scikit-learn": weights},
                title="Six of the weights",
                y_title="weight",
                y_range=[-4, 1],
                **across,
            ).falling(),
            figures.Curves(
                {
                    "not zero": lambda r: alive(r.theta),
                    "above 0.001": lambda r: int((r.theta.abs() > 1e-3).sum()),
                },
                x=lam,
                reference={"scikit-learn": (list(grid), [alive(t) for t in theirs])},
                title="How many",
                y_title="number of weights",
                y_range=[0, 31],
                **across,
            ).falling(),
        ],
        readout=read,
        total=lambda values: sum(lam >= values["least"] for lam in grid),
        title="The path of the weights",
        goal="which measurement comes first, and can a weight go back to zero?",
        keep=1,
        preview=remembered.preview,
    )
