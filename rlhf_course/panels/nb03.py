"""Notebook 03: a landscape with a saddle, and where a damped Newton step goes on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rlhf_lib.panels import Panel, figures, slider
from rlhf_lib.panels import choice as menu
from rlhf_lib.panels.display import REPLAYED
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, number
from .model_contours import through_the_point

choice(
    "03.undamped",
    "Where will undamped Newton (μ = 0) end?",
    ["in the near minimum (0, 1)", "in the far minimum (0, −1)", "at the saddle (0, 0)"],
    truth=2,
    why="Along y the model is a hill, and Newton jumps to its top; the saddle is where it ends.",
)
number(
    "03.least",
    "Which is the smallest μ for which every step starts downhill along both axes?",
    truth=0.52,
    within=0.021,
    why="At the start the smaller eigenvalue is 3·0.4² − 1 = −0.52, and μ is added to it.",
)

Path = Callable[..., Iterable[Record]]


def shifted(record: Record) -> list[float]:
    """The eigenvalues of H + μI at a record, in ascending order."""
    return (record.extra["eigenvalues"] + record.damping).tolist()


def smallest(records: Sequence[Record]) -> float:
    """The smallest eigenvalue of H + μI met on a path."""
    return min(min(shifted(record)) for record in records)


def saddle(descend: Path, steps: int) -> Panel:
    """`descend(x, y, damping)` yields the records of a path from (x, y), at most `steps` + 1."""
    return Panel(
        descend,
        controls=[
            slider("x", "start x", low=-2.0, high=2.0, step=0.1, value=1.5),
            slider("y", "start y", low=-1.6, high=1.6, step=0.1, value=0.4),
            slider("damping", "damping μ", low=0.0, high=3.0, step=0.02, value=0.0),
        ],
        figures=[
            figures.ContourPath(
                lambda x, y: 0.5 * x**2 + 0.25 * y**4 - 0.5 * y**2,
                x_range=[-2, 2],
                y_range=[-2.6, 2.6],
                equal=True,
                levels=[*np.arange(-0.25, 1.01, 0.125), 1.5, 2, 3, 4],
                marks={"saddle": (0, 0), "minimum ": (0, 1), "minimum": (0, -1)},
                start_by=("x", "y"),
                outlines={"model": _model},
                title="The path over the contours of f",
                x_title="x",
                y_title="y",
            ),
            figures.Curves(
                {"smaller": lambda r: shifted(r)[0], "larger": lambda r: shifted(r)[1]},
                reference={"0": ([0, 12], [0.0, 0.0])},
                title="Eigenvalues of H + μI at each step",
                x_title="step",
                y_title="eigenvalue",
                x_range=[0, 12],
                y_range=[-1.5, 5],
            ),
        ],
        readout=_read,
        total=steps + 1,
        title="Newton's method on a landscape with a saddle",
        goal="from (1.5, 0.2), reach a minimum with the least μ that keeps all eigenvalues of "
        "H + μI positive",
        reached=reached("03.escape"),
        follow=True,
        play=True,
    )


def _model(records: Sequence[Record], values: Mapping[str, Any]) -> tuple[list, list]:
    """Where the damped model of the first step, or of the one that is shown, has its own value."""
    theta = (records[-1] if values.get(REPLAYED) else records[0]).theta
    x, y = theta.unbind()
    curvature = torch.diag(torch.stack([torch.ones_like(x), 3 * y**2 - 1]) + values["damping"])
    return through_the_point(theta, torch.stack([x, y**3 - y]), curvature)


def _read(records: Sequence[Record], values: dict[str, Any]) -> str:
    x, y = records[-1].theta.tolist()
    at = "the saddle" if abs(y) < 0.01 else "a minimum" if abs(abs(y) - 1) < 0.01 else "on the way"
    x, y, loss = round(x, 2) + 0.0, round(y, 2) + 0.0, round(records[-1].loss, 3) + 0.0
    return (
        f"Step {records[-1].step}: ({x:.2f}, {y:.2f}), {at}, f = {loss:.3f}. The "
        f"smallest eigenvalue of H + μI met on the way was {smallest(records):.2f}."
    )


# -- panel 2: a curve of minima ----------------------------------------------------------------


def flatness(roll: Path) -> Panel:
    """`roll(method, rate, a, b)` yields records of a run on (ab - 1)^2 / 2 with `extra` of
    "sharpness", the largest eigenvalue of the Hessian."""
    return Panel(
        roll,
        controls=[
            menu("method", "method", ["gradient descent", "damped Newton"]),
            slider("rate", "step size η", low=0.02, high=0.6, step=0.01, value=0.2),
            slider("a", "start a", low=0.2, high=3.4, step=0.02, value=3.0),
            slider("b", "start b", low=0.1, high=2.4, step=0.02, value=0.34),
        ],
        figures=[
            figures.ContourPath(
                lambda a, b: 0.5 * (a * b - 1) ** 2,
                x_range=[-2, 4],
                y_range=[-2, 3],
                equal=True,
                levels=[0.005, 0.05, 0.2, 0.5, 1, 2, 4, 8, 16],
                marks={"flattest": (1, 1)},
                start_by=("a", "b"),
                title="The path over the contours",
                x_title="a",
                y_title="b",
            ),
            figures.Curves(
                {"sharpness": lambda r: min(r.extra["sharpness"], 30.0)},
                reference={"2/η": lambda v: ([0, 100], [min(2 / v["rate"], 30.0)] * 2)},
                title="Sharpness at each step",
                x_title="step",
                y_title="largest eigenvalue",
                x_range=[0, 100],
                y_range=[0, 20],
            ),
        ],
        readout=_read_sharpness,
        total=101,
        title="Many minima, sharp and flat",
        goal="from (3, 0.34), end in a minimum of sharpness below 4 by gradient descent",
        reached=rests_low,
        keep=1,
        follow=True,
        play=True,
    )


def rests_low(records: Sequence[Record], values: Mapping[str, Any]) -> bool:
    """Whether gradient descent from (3, 0.34) ends in a minimum of sharpness below 4."""
    asked = values["method"] == "gradient descent" and (values["a"], values["b"]) == (3.0, 0.34)
    return asked and records[-1].loss < 1e-6 and records[-1].extra["sharpness"] < 4


def _read_sharpness(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    end = records[-1]
    where = "in a minimum" if end.loss < 1e-6 else "not in a minimum"
    (a, b), first = end.theta.tolist(), records[0].extra["sharpness"]
    limit = f", 2/η is {2 / values['rate']:.2f}" if values["method"] == "gradient descent" else ""
    return (
        f"Step {end.step}: ({a:.2f}, {b:.2f}), {where}. The sharpness was {first:.2f} at the start "
        f"and is {end.extra['sharpness']:.2f}{limit}."
    )
