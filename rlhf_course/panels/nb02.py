"""Notebook 02: a valley, the parabola that touches, and three bowls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from rlhf_lib.panels import Panel, charts, figures, log_slider, slider
from rlhf_lib.panels import choice as choices
from rlhf_lib.panels.display import REPLAYED
from rlhf_lib.panels.figure import DASHES, PALETTE, Figure
from rlhf_lib.panels.theme import INK
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice
from ..table import Table
from .model_contours import through_the_point
from .sketch import Sketch

choice(
    "02.one_step",
    "κ = 25. Who can arrive in one single step?",
    [
        "Newton's method from (2, −1), and gradient descent with the right η, too",
        "Newton's method from (2, −1); gradient descent from no start",
        "Newton's method from (2, −1); gradient descent from some other starts",
        "Newton's method only from points on the floor line; gradient descent from no start",
    ],
    truth=2,
    why="Newton's method needs one step from everywhere. Gradient descent does it on two lines: "
    "along the floor with η = 1, across it with η = 1/25.",
)
choice(
    "02.exponents",
    "Which order of convergence has each of the three functions?",
    [
        "exp(x) − x − 1: 2, log cosh x: 2, x⁴/4: 2",
        "exp(x) − x − 1: 2, log cosh x: 2, x⁴/4: 1",
        "exp(x) − x − 1: 2, log cosh x: 3, x⁴/4: 1",
        "exp(x) − x − 1: 1, log cosh x: 2, x⁴/4: 4",
    ],
    truth=2,
    why="2 is what the theorem says. log cosh has no third derivative at 0, which is better; x⁴/4 "
    "has no second one there, which is worse.",
)
choice(
    "02.overshoot",
    "Will Newton's method, started at x = 1.2, arrive at the minimum of log cosh x?",
    ["yes, within five steps", "yes, after many steps to and fro", "no, it runs away"],
    truth=2,
    why="Each step lands farther out on the other side, though the function is convex.",
)

STEPS_DRAWN = 12  # steps of a path that are joined by a line: more of them are a bar
FAR = 1e-6  # the least distance that is drawn
Walk = Callable[..., Iterable[Record]]

# -- the parabola that touches ---------------------------------------------------------------


def touching(f: Callable[[Tensor], Tensor], records: Sequence[Record], **axes: Any) -> Figure:
    """f, the parabola that touches it at each of the first points of a path of Newton's method in
    one dimension, and how its lowest point gives the next one."""
    low, high = axes["x_range"]
    top = axes["y_range"][1]
    xs = np.linspace(low, high, 241)
    ys = np.array([float(f(torch.tensor([x]))) for x in xs])
    traces = [_line(xs, ys, top, "f", {"color": INK, "width": 3})]
    points = [float(r.theta) for r in records]
    for k, (record, x) in enumerate(zip(records[:-1], points, strict=False)):
        after, curvature = points[k + 1], float(record.extra["eigenvalues"])
        least = record.loss - curvature * (x - after) ** 2 / 2
        line = {"color": PALETTE[k], "dash": DASHES[1 + k], "width": 2.5}
        traces += [
            _line(xs, least + curvature * (xs - after) ** 2 / 2, top, f"model at x{_sub(k)}", line),
            go.Scatter(
                x=[after, after],
                y=[least, records[k + 1].loss],
                mode="lines+markers",
                showlegend=False,
                line={"color": PALETTE[k], "width": 1, "dash": "dot"},
                marker={"symbol": ["star", "circle"], "size": [11, 1], "color": PALETTE[k]},
                hovertemplate="(%{x:.3g}, %{y:.3g})<extra></extra>",
            ),
        ]
    traces.append(
        go.Scatter(
            x=points,
            y=[r.loss for r in records],
            mode="markers+text",
            showlegend=False,
            marker={"size": 9, "color": INK},
            text=[f"x{_sub(k)}" for k in range(len(points))],
            textposition="top left",
            textfont={"size": 13},
        )
    )
    return Figure(charts.still(traces), legend=True, **axes)


def _line(xs: np.ndarray, ys: np.ndarray, top: float, name: str, line: Mapping) -> go.Scatter:
    inside = ys <= top
    return go.Scatter(
        x=xs[inside].tolist(), y=ys[inside].tolist(), name=name, mode="lines", line=dict(line)
    )


def _sub(k: int) -> str:
    return "₀₁₂₃₄₅₆₇₈₉"[k]


# -- panel 1: the valley ---------------------------------------------------------------------


def distance(record: Record) -> float:
    """How far the record's point is from the minimum at 0."""
    return float(record.theta.norm())


def _drawn(value: float) -> float:
    return min(max(value, FAR), 100.0)


def valley(walk: Walk, steps: int, floor: Tensor, wall: Tensor) -> Panel:
    """`walk(method, kappa, rate, x, y)` yields at most `steps` + 1 records of a walk in the valley
    with curvature 1 along `floor` and κ along `wall`."""

    def along(direction: Tensor) -> Callable[[Record], float]:
        return lambda record: _drawn(abs(float(record.theta @ direction)))

    return Panel(
        walk,
        controls=[
            choices("method", "method", ["gradient descent", "Newton"]),
            log_slider("kappa", "κ", low=1, high=1000, value=25),
            log_slider("rate", "step size η", low=0.001, high=2, value=0.07),
            slider("x", "start x", low=-3.0, high=3.0, step=0.1, value=2.0),
            slider("y", "start y", low=-3.0, high=3.0, step=0.1, value=-1.0),
        ],
        figures=[
            Sketch(
                lambda records, values: _from_above(records, values, floor, wall),
                {
                    "equal f": "ground",
                    "path": "path",
                    "model": "line",
                    "later": "points",
                    "start": "mark",
                    "now": "mark",
                    "minimum": "mark",
                },
                ghosts=["path"],
                marked={"start": "bottom right", "now": "bottom left", "minimum": "top left"},
                start_by=("x", "y"),
                title="The valley from above (dashed: the model)",
                x_title="x",
                y_title="y",
                x_range=[-5.4, 5.4],
                y_range=[-3.2, 3.2],
                equal=True,
            ),
            figures.Curves(
                {"distance": lambda r: _drawn(distance(r))},
                x="cost",
                title="Distance to the minimum",
                x_title="cost (gradients)",
                y_title="‖θ − θ*‖ (10⁻⁶ or less)",
                x_range=[0, 100],
                y_range=[FAR, 100],
                y_log=True,
            ),
            figures.Curves(
                {"along the floor": along(floor), "across it": along(wall)},
                title="The two parts of the distance",
                x_title="step",
                y_title="|a| and |b|",
                x_range=[0, 100],
                y_range=[FAR, 100],
                y_log=True,
            ),
        ],
        readout=_read_walk,
        total=steps + 1,
        title="Gradient descent and Newton's method in a valley",
        goal="with κ = 25, reach the minimum in one step: with Newton, then with gradient descent",
        reached=reached("02.one_step"),
        keep=2,
        follow=True,
        play=True,
    )


def _from_above(
    records: Sequence[Record], values: Mapping[str, Any], floor: Tensor, wall: Tensor
) -> dict[str, Any]:
    kappa = values["kappa"]
    around = torch.linspace(0, 2 * math.pi, 121, dtype=floor.dtype)
    xs, ys = [], []
    for k in range(7):  # the ellipse f = 0.05 · 4ᵏ, and a gap before the next one
        a = math.sqrt(0.1 * 4**k) * around.cos()
        b = math.sqrt(0.1 * 4**k / kappa) * around.sin()
        ellipse = torch.outer(a, floor) + torch.outer(b, wall)
        xs = [*xs, *ellipse[:, 0].tolist(), math.nan]
        ys = [*ys, *ellipse[:, 1].tolist(), math.nan]
    points = [tuple(r.theta.tolist()) for r in records]
    inside = [abs(x) <= 8 and abs(y) <= 3.4 for x, y in points]
    last = next((i for i, seen in enumerate(inside) if not seen), len(points))
    path = points[: min(last, STEPS_DRAWN) + 1]
    later = [p for p, seen in zip(points, inside, strict=True) if seen][STEPS_DRAWN + 1 :]
    now = [points[-1]] if inside[-1] else []

    def columns(some: Sequence[tuple[float, ...]]) -> tuple[list[float], list[float]]:
        return [p[0] for p in some], [p[1] for p in some]

    return {
        "equal f": (xs, ys),
        "model": _model(records, values, floor, wall),
        "path": columns(path),
        "later": columns(later),
        "start": columns(points[:1]),
        "now": columns(now),
        "minimum": ([0], [0]),
    }


def _model(
    records: Sequence[Record], values: Mapping[str, Any], floor: Tensor, wall: Tensor
) -> tuple[list[float], list[float]]:
    """Where the model of the first step, or of the one that is shown, has the value of its point:
    Newton's knows the curvature, gradient descent takes it to be 1/η in all directions."""
    theta = (records[-1] if values.get(REPLAYED) else records[0]).theta
    H = torch.outer(floor, floor) + values["kappa"] * torch.outer(wall, wall)
    if values["method"] == "Newton":
        return through_the_point(theta, H @ theta, H)
    return through_the_point(theta, H @ theta, torch.eye(2, dtype=theta.dtype) / values["rate"])


def _read_walk(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    end, first = records[-1], records[min(1, len(records) - 1)]
    return (
        f"{values['method'].capitalize()}: distance {distance(records[0]):.2f} at the start, "
        f"{_said(distance(first))} after step 1, {_said(distance(end))} after step {end.step}, "
        f"which cost {end.cost:.0f} gradients."
    )


def _said(value: float) -> str:
    return "below 1e-9" if value < 1e-9 else f"{value:.2g}"


# -- paths over contours -----------------------------------------------------------------------


def over_contours(
    f: Callable[[Tensor], Tensor], paths: Mapping[str, Sequence[Tensor]], **axes: Any
) -> Figure:
    """Several paths over the contours of one function, named over the plot."""
    figure = figures.ContourPath(
        lambda x, y: (
            torch.vmap(f)(torch.tensor(np.stack([x, y], -1)).reshape(-1, 2))
            .reshape(x.shape)
            .numpy()
        ),
        equal=True,
        legend=True,
        **axes,
    )
    for k, (name, points) in enumerate(paths.items()):
        xs, ys = ([float(p[i]) for p in points] for i in (0, 1))
        figure.fix(
            go.Scatter(
                x=xs,
                y=ys,
                name=name,
                mode="lines+markers",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 2.5},
                marker={"symbol": charts.SYMBOLS[k], "size": 7, "color": PALETTE[k]},
            )
        )
    return figure.show()


# -- four programs -----------------------------------------------------------------------------


def four_programs(f: Callable[[Tensor], Tensor], start: float = 1.0, steps: int = 7) -> Table:
    """The errors |x| of four programs that minimize f, of one number, with minimum 0: A has twice
    the Hessian, B is right, C rounds its gradient to three decimals, D keeps the first Hessian."""
    slope = torch.func.grad(f)
    bend = torch.func.grad(slope)
    first = torch.tensor(start, dtype=torch.float64)
    programs = {
        "A": lambda x: slope(x) / (2 * bend(x)),
        "B": lambda x: slope(x) / bend(x),
        "C": lambda x: slope(x).round(decimals=3) / bend(x),
        "D": lambda x: slope(x) / bend(first),
    }
    rows: list[dict[str, Any]] = [{"step": k} for k in range(steps + 1)]
    for name, step in programs.items():
        x = first
        for row in rows:
            row[name] = f"{abs(float(x)):.1e}"
            x = x - step(x)
    return Table(rows, caption="Distance to the minimum, |x|")


# -- panel 2: three bowls -----------------------------------------------------------------------


def error(record: Record) -> float:
    """The distance of the record's number from 0."""
    return float(record.theta.abs())


def exponents(records: Sequence[Record]) -> list[float]:
    """Equation (7) for each three errors in a row that are above rounding."""
    e = [math.log(error(r)) for r in records if error(r) > 1e-14]
    return [(e[k + 2] - e[k + 1]) / (e[k + 1] - e[k]) for k in range(len(e) - 2)]


def bowls(roll: Walk, functions: Mapping[str, Callable[[Tensor], Tensor]]) -> Panel:
    """`roll(bowl, x)` yields the records of Newton's method on one of `functions` from x."""
    xs = torch.linspace(-4, 4, 161, dtype=torch.float64)

    def show(records: Sequence[Record], values: Mapping[str, Any]) -> dict[str, Any]:
        f = functions[values["bowl"]]
        shown = {"f": (xs, [f(x) for x in xs])}
        for k, name in enumerate(("model at x₀", "model at x₁")):
            if k < len(records) - 1:
                here, after = float(records[k].theta), float(records[k + 1].theta)
                h = float(records[k].extra["eigenvalues"])
                ys = records[k].loss + h / 2 * ((xs - after) ** 2 - (here - after) ** 2)
                shown[name] = (xs, torch.where(ys < 6.4, ys, math.nan))
        points = [float(r.theta) for r in records if abs(float(r.theta)) <= 4]
        shown["steps"] = (points, [f(torch.tensor(x)) for x in points])
        return shown | {"start": (records[0].theta, [records[0].loss])}

    return Panel(
        roll,
        controls=[
            choices("bowl", "function", list(functions)),
            slider("x", "start x", low=-3.0, high=3.0, step=0.01, value=1.0),
        ],
        figures=[
            Sketch(
                show,
                {
                    "f": "line",
                    "model at x₀": "line",
                    "model at x₁": "line",
                    "steps": "points",
                    "start": "mark",
                },
                marked={"start": "bottom right"},
                legend=True,
                title="The function and its models",
                x_title="x",
                y_title="f(x)",
                x_range=[-4, 4],
                y_range=[-1, 6],
            ),
            figures.Curves(
                {"error": lambda r: min(max(error(r), 1e-16), 1e4)},
                title="Distance to the minimum",
                x_title="step (3 gradients each)",
                y_title="|x|",
                x_range=[0, 25],
                y_range=[1e-16, 1e4],
                y_log=True,
            ),
        ],
        readout=_read_roll,
        total=26,
        title="Newton's method on three bowls",
        goal="the largest start, to 0.01, from which Newton's method arrives on log cosh",
        reached=reached("02.edge"),
        keep=3,
        follow=True,
    )


def _read_roll(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    end, found = records[-1], exponents(records)
    arrived = error(end) < 1e-3
    where = "it arrives" if arrived else "it has not arrived"
    measured = f" The last order measured is {found[-1]:.2f}." if found and arrived else ""
    first = float(records[min(1, end.step)].theta)
    return (
        f"From {values['x']:.2f}, x = {first:.2f} after step 1 and "
        f"{float(end.theta):.2g} after step {end.step}: {where} ({end.reason}).{measured}"
    )
