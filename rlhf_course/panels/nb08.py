"""Notebook 08: one step under the microscope, and twenty steps under guard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlhf_lib.panels import Panel, figures, log_slider, slider
from rlhf_lib.panels import choice as options
from rlhf_lib.panels.layout import HEIGHT
from rlhf_lib.record import Record
from rlhf_lib.solve import conjugate_gradient
from rlhf_lib.step import reduction_ratio

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from ..experiments.nb08_logs import logged

choice(
    "08.end",
    "From the plateau, where the loss is 0.675, the undamped model promises a decrease of 0.085. "
    "Where will the loss be after its step?",
    [
        "at about 0.59, as promised",
        "between 0.59 and 0.675",
        "above 0.675, but below 1",
        "far above 1",
    ],
    truth=3,
    why="It is 14.3. In one direction the model sees almost no curvature, and no reason to stop.",
)
choice(
    "08.mend",
    "Which will mend it: making the step shorter, or making it turn?",
    ["making it shorter", "making it turn", "neither"],
    truth=1,
    why="Along the undamped direction the loss can fall by no more than 0.0002, however short the "
    "step; turned towards −g, a step of length 1.5 wins 0.08.",
)
curve(
    "08.rho",
    "From the plateau, how does ρ of the damped step depend on its length ‖d(μ)‖?",
    truth=[
        1.0,
        1.075,
        1.128,
        1.166,
        1.195,
        1.22,
        1.239,
        1.227,
        0.938,
        0.325,
        -0.408,
        -1.237,
        -2.157,
        -3.161,
        -4.244,
    ],
    axes={"x_range": [0, 2.8], "y_range": [-5, 2], "x_title": "length ‖d(μ)‖", "y_title": "ρ"},
    why="Short steps are predicted exactly. Up to a length of about 1.5 the loss falls even more "
    "than promised; then the step leaves the region where the model holds, and ρ drops.",
)

UNBOUNDED = 100.0  # a radius that binds nobody
ALPHAS = [k / 40 for k in range(41)]
LEAST = 0.57150997  # the least loss
HOME = 1e-4  # a loss that is nearer to it is home
PATIENTS = 569
MARKS = {"minimum": (1.331, 2.159), "its mirror": (-1.331, -2.159), "saddle": (0, 0, "bottom left")}
# Figures of one height get the same margins; contours need none on the right for names of curves.
WIDER = HEIGHT + 1
LEVELS = [0.575, 0.58, 0.59, 0.6, 0.62, 0.65, 0.69, 0.75, 0.85, 1, 1.25, 1.5, 2, 3]

Closure = Callable[[Tensor], tuple[Tensor, Tensor]]


def surface(closure: Closure) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The loss as a function of two arrays."""
    one = torch.func.vmap(lambda theta: closure(theta)[0], chunk_size=2000)

    def loss(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        points = torch.tensor(np.stack([a.ravel(), b.ravel()], axis=1))
        with torch.no_grad():
            return one(points).numpy().reshape(a.shape)

    return loss


def angle(u: Tensor, v: Tensor) -> float:
    """In degrees."""
    cosine = float(u @ v / (u.norm() * v.norm()))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def promise(G: Any, d: Tensor) -> float:
    """The decrease that the model promises for the step d."""
    return -float(G.gradient @ d + 0.5 * d @ (G @ d))


# -- one step ------------------------------------------------------------------------------------


def along(
    G: Any,
    origin: Tensor,
    d: Tensor,
    loss: Callable[[Tensor], float],
    rho: float,
    length: float,
    c: float,
) -> Iterator[Record]:
    """The records of a step d from α = 0 to 1; `length` is the α that Armijo's test accepts."""
    slope, promised, dense = float(G.gradient @ d), promise(G, d), G.dense()
    for k, alpha in enumerate(ALPHAS):
        yield Record(
            step=k,
            loss=loss(origin + alpha * d),
            theta=origin + alpha * d,
            rho=rho,
            step_length=length,
            extra={
                "alpha": alpha,
                "length": float(d.norm()),
                "promised": promised,
                "true": rho * promised,
                "model": G.loss + alpha * slope + alpha**2 * (-promised - slope),
                "line": G.loss + c * alpha * slope,
                "turned": angle(d, -G.gradient),
                "G": dense,
                "g": G.gradient,
                "origin": origin,
            },
        )


TURN = torch.linspace(0, 2 * math.pi, 241, dtype=torch.float64)
UNIT = torch.stack([TURN.cos(), TURN.sin()])


def _circle(records: Sequence[Record], values: Mapping[str, Any]) -> Any:
    """What the radius allows."""
    if values["radius"] >= UNBOUNDED:
        return [], []
    return (records[0].extra["origin"][:, None] + values["radius"] * UNIT).tolist()


def _models(records: Sequence[Record], values: Mapping[str, Any]) -> tuple[list, list]:
    first = records[0].extra
    return _ellipses(first["G"], first["g"], first["origin"], UNIT)


def _ellipses(G: Tensor, g: Tensor, origin: Tensor, unit: Tensor) -> tuple[list, list]:
    """Contours of the model where it promises nothing (through the start), and where it promises
    some shares of its largest decrease; without the parts that are far out."""
    h, Q = torch.linalg.eigh(G)
    best = -Q @ ((Q.T @ g) / h)
    root = Q * h.rsqrt()
    xs, ys = [], []
    for share in (0.0, 0.4, 0.8):
        size = float((1 - share) * -(g @ best)) ** 0.5  # twice the decrease that is left
        points = (origin + best)[:, None] + size * (root @ unit)
        points = torch.where((points.abs() < 30).all(0), points, torch.nan)
        for found, row in zip((xs, ys), points.tolist(), strict=True):
            found += [None if math.isnan(v) else v for v in row] + [None]
    return xs, ys


Starts = Mapping[str, tuple[float, float]]


def _start(place: tuple[float, float]) -> list[Any]:
    """Two sliders for where it begins, on the map."""
    return [
        slider("a", "start a", low=-3, high=4.5, step=0.1, value=place[0]),
        slider("b", "start b", low=-3, high=4, step=0.1, value=place[1]),
    ]


def microscope(
    one_step: Callable[..., Iterable[Record]],
    closure: Closure,
    curvature: Callable[[Tensor], Any],
    starts: Starts,
) -> Panel:
    """`one_step((a, b), damping, radius, c)` yields what `along` does; `curvature(theta)` is G."""
    mus = np.logspace(-5, 1, 61)

    def lengths(place: tuple[float, float]) -> tuple[np.ndarray, list[float]]:
        return mus, _lengths(curvature(torch.tensor(place, requires_grad=True)), mus)

    def generate(a: float, b: float, **values: float) -> Iterable[Record]:
        return one_step((a, b), **values)

    losses = figures.Curves(
        {"true loss": "loss", "model": _of("model"), "Armijo": _of("line")},
        x=_of("alpha"),
        title="The loss along the step",
        x_title="α, share of the full step",
        y_title="loss (nats)",
        x_range=[0, 1],
        y_range=[0.3, 1.5],
        room="start a = −2.0",
    )
    return Panel(
        generate,
        controls=[
            *_start(starts["plateau"]),
            log_slider("damping", "damping μ", low=1e-4, high=10, value=0, zero=True),
            log_slider("radius", "radius Δ", low=0.05, high=UNBOUNDED, value=UNBOUNDED),
            log_slider("c", "Armijo c", low=1e-4, high=0.9, value=1e-4),
        ],
        figures=[
            figures.ContourPath(
                surface(closure),
                x_range=[-3, 4.5],
                y_range=[-3, 4],
                levels=LEVELS,
                equal=True,
                path=_quarters,
                marks=MARKS | starts,
                start_by=("a", "b"),
                outlines={"model": _models, "Δ": _circle},
                title="The step over the true loss",
                x_title="a, second layer",
                y_title="b, first layer",
                height=WIDER,
            ),
            losses,
            figures.Curves(
                {"your step": _of("length")},
                x=lambda r: 10 ** (6 * r.extra["alpha"] - 5),
                reference={name: lengths(place) for name, place in starts.items()}
                | {"your start": lambda values: lengths((values["a"], values["b"]))},
                title="Length of the damped step, for every μ",
                x_title="damping μ",
                y_title="length ‖d(μ)‖",
                x_log=True,
                x_range=[1e-5, 10],
                y_log=True,
                y_range=[0.01, 100],
            ),
        ],
        readout=_read,
        total=len(ALPHAS),
        title="One step: what the model promises, and what comes true",
        goal="from the wall, a step longer than 1.9 with ρ of at least ¾",
        reached=reached("08.longest"),
        follow=True,
        play=True,
    )


def _of(name: str) -> Callable[[Record], float]:
    return lambda record: record.extra[name]


def _quarters(record: Record) -> Any:
    return record.theta if record.step % 10 == 0 else (math.nan, math.nan)


def _lengths(G: Any, mus: np.ndarray) -> list[float]:
    """Equation (8): the length of the damped step for each mu."""
    h, Q = torch.linalg.eigh(G.dense())
    g = Q.T @ G.gradient
    return [float((g / (h + mu)).norm()) for mu in mus.tolist()]


def _read(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    r, e = records[-1], records[-1].extra
    verdict = (
        "the loss rises"
        if r.rho <= 0
        else "it decreases, if less than promised"
        if r.rho < 0.75
        else "the model is right"
        if r.rho <= 1.25
        else "it decreases more than promised"
    )
    return (
        f"The full step is {e['length']:.3g} long, {e['turned']:.0f}° away from −g. Promised "
        f"decrease {e['promised']:.4f}, true {e['true']:.4f}: ρ = {r.rho:.2f}, {verdict}. "
        f"Armijo's test accepts α = {r.step_length:.3g}."
    )


# -- step after step -----------------------------------------------------------------------------


def unguarded(
    theta: Tensor, curvature: Callable[[Tensor], Any], loss: Callable[[Tensor], float], steps: int
) -> Iterator[Record]:
    """Takes every undamped step as the model proposes it; changes theta in place."""
    for step in range(1, steps + 1):
        G = curvature(theta)
        d = conjugate_gradient(G, -G.gradient, rtol=1e-12).x
        promised = promise(G, d)
        with torch.no_grad():
            theta += d
        yield Record(
            step=step,
            loss=G.loss,
            damping=0.0,
            step_length=1.0,
            products=2,
            rho=reduction_ratio(G.loss - loss(theta), promised),
            cost=step * PATIENTS * (1 + 2 * G.product_cost + 1 / 3),
        )


def gone_wrong(x: Tensor, y: Tensor) -> list[list[dict[str, float]]]:
    """Logs of twelve steps from the wall, each of a loop with another mistake."""
    return [logged(x, y, (-2.0, 1.0), fault) for fault in ("mixed", "kept", "turned")]


def gradients(record: Record) -> float:
    """The cost of a walk until this record, in gradients of all patients."""
    return record.cost / PATIENTS


def arrival(records: Iterable[Record]) -> Record | None:
    """The first record that is home, or None."""
    return next((r for r in records if r.train_loss - LEAST < HOME), None)


def walking(
    walk: Callable[..., Iterable[Record]],
    closure: Closure,
    starts: Starts,
    guards: Sequence[str],
    steps: int,
) -> Panel:
    """`walk((a, b), guard, damping, radius)` yields the state before the first step and `steps`
    records with `theta` and `train_loss` after each step."""

    def generate(a: float, b: float, **values: Any) -> Iterable[Record]:
        return walk((a, b), **values)

    return Panel(
        generate,
        controls=[
            *_start(starts["wall"]),
            options("guard", "guarded by", list(guards)),
            log_slider("damping", "first μ", low=1e-4, high=10, value=1e-4),
            log_slider("radius", "first Δ", low=0.05, high=UNBOUNDED, value=20),
        ],
        figures=[
            figures.ContourPath(
                surface(closure),
                x_range=[-3, 4.5],
                y_range=[-3, 4],
                levels=LEVELS,
                equal=True,
                marks=MARKS | starts,
                start_by=("a", "b"),
                title="The path over the true loss",
                x_title="a, second layer",
                y_title="b, first layer",
                height=WIDER,
            ),
            figures.Curves(
                {"loss": lambda r: max(r.train_loss - LEAST, 1e-8)},
                x=gradients,
                title="Loss above its least value",
                x_title="cost in gradients of all patients",
                y_title="nats",
                x_range=[0, 80],
                y_range=[1e-8, 1e3],
                y_log=True,
                goal={"y": HOME, "label": "home"},
            ),
        ],
        readout=_tell,
        total=steps + 1,
        title="Twenty steps under guard",
        goal="find a guard and a first μ or Δ that bring the wall and the plateau home, and a "
        "guard that does not",
        reached=_both_ways(starts),
        follow=True,
        play=True,
    )


def _both_ways(starts: Starts) -> Callable[[Sequence[Record], Mapping[str, Any]], bool]:
    """Whether the runs so far hold one setting with both starts home, and one that is not."""
    home: dict[tuple, set] = {}
    lost = False

    def judge(records: Sequence[Record], values: Mapping[str, Any]) -> bool:
        nonlocal lost
        setting = tuple(values[name] for name in ("guard", "damping", "radius"))
        place = values["a"], values["b"]
        if place not in starts.values():
            return False
        if arrival(records) is None:
            lost = True
        else:
            home.setdefault(setting, set()).add(place)
        return lost and any(len(places) == len(starts) for places in home.values())

    return judge


def _tell(records: Sequence[Record], values: Mapping[str, Any]) -> str:
    r, arrived = records[-1], arrival(records)
    rejected = sum(not q.accepted for q in records)
    where = (
        f"at step {arrived.step}, after {gradients(arrived):.0f} gradients"
        if arrived
        else "not yet"
    )
    return (
        f"Step {r.step}: loss {r.train_loss:.4g}, cost {gradients(r):.0f} gradients, {rejected} "
        f"steps rejected. Home (within 0.0001 of the least loss): {where}."
    )
