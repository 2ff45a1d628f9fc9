"""Notebook 05: two methods in one bowl, the polynomial of conjugate gradients, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_lib.curvature import LanczosResult, lanczos
from rlhf_lib.panels import Panel, figures, log_slider, slider
from rlhf_lib.panels import choice as drop_down
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import curve, number
from .sketch import Sketch

number(
    "05.angle",
    "Each step of steepest descent ends where its line touches a contour. Which angle do two steps "
    "in a row make in the left picture, in degrees?",
    truth=90,
    within=0.5,
    unit="degrees",
    why="A step ends where its line touches a contour, and the next goes at right angles to it.",
)
number(
    "05.starts",
    "From how many starts on the ellipse does steepest descent need one step only?",
    truth=4,
    within=0,
    why="From the ends of the two axes: there the gradient points straight away from the origin.",
)
ITERATIONS, SEEDS = 30, range(1, 6)
# Held by a claim: the mean over five draws at noise 0.3 with 26 measurements.
U_SHAPE = [
    2.23,
    0.617,
    0.408,
    0.274,
    0.202,
    0.156,
    0.129,
    0.142,
    0.143,
    0.148,
    0.148,
    0.147,
    0.158,
    0.196,
    0.225,
    0.239,
    0.25,
    0.26,
    0.261,
    0.346,
    0.347,
    0.446,
    0.452,
    0.487,
    0.491,
    0.498,
    0.513,
    0.515,
    0.516,
    0.516,
    0.516,
]
curve(
    "05.early",
    "How does the error on new data go with the iterations of CG, at noise 0.3?",
    truth=U_SHAPE,
    axes={
        "x_range": [0, ITERATIONS],
        "y_range": [0, 2.4],
        "x_title": "CG iterations",
        "y_title": "mean squared error",
    },
    why="It falls fast, stays low for a while and rises as the noise is fitted.",
)

# -- a bowl in two dimensions -----------------------------------------------------------------

STEEPEST, CONJUGATE = "steepest descent", "conjugate gradients"
LEVELS = [0, 0.05, 0.2, 0.5, 1, 1.75, 2.75, 4.5, 7, 10, 20, 40, 60]


def angle(u: Tensor, v: Tensor) -> float:
    """Between two vectors, in degrees."""
    return math.degrees(math.acos(max(-1.0, min(1.0, float(u @ v / (u.norm() * v.norm()))))))


def angles(records: Sequence[Record], root: Tensor) -> tuple[float, float]:
    """Between the first two steps of a path, as the bowl is and where it is round."""
    first, second = (records[i + 1].theta - records[i].theta for i in range(2))
    return angle(first, second), angle(root @ first, root @ second)


def bowl(walk: Callable[..., Iterable[Record]], A: Tensor, root: Tensor) -> Panel:
    """`walk(start, method)` yields the points of a path on x'Ax/2 from the contour 4.5, at
    `start` degrees; `root` @ `root` is A."""
    a, b, c = float(A[0, 0]), float(A[0, 1]), float(A[1, 1])
    drawn = {
        "x_range": [-3.4, 3.4],
        "y_range": [-3.4, 3.4],
        "levels": LEVELS,
        "equal": True,
        "marks": {"solution": (0, 0)},
    }

    def read(records: Sequence[Record], values: dict[str, Any]) -> str:
        said = f"Step {records[-1].step}: q = {records[-1].loss:.2g}."
        if len(records) > 2:
            left, right = angles(records, root)
            said += f" The first two steps make {left:.0f}° on the left, {right:.0f}° on the right."
        return said

    return Panel(
        walk,
        controls=[
            slider("start", "start (degrees)", low=0, high=355, step=5, value=60),
            drop_down("method", "method", [STEEPEST, CONJUGATE]),
        ],
        figures=[
            figures.ContourPath(
                lambda x, y: 0.5 * (a * x * x + 2 * b * x * y + c * y * y),
                title="The bowl as it is",
                x_title="x₁",
                y_title="x₂",
                **drawn,
            ),
            figures.ContourPath(
                lambda x, y: 0.5 * (x * x + y * y),
                path=lambda record: root @ record.theta,
                title="The same, stretched until it is round",
                x_title="s₁",
                y_title="s₂",
                **drawn,
            ),
        ],
        readout=read,
        title="Two methods in one bowl",
        goal="a start from which steepest descent arrives in one step",
        reached=reached("05.one_step"),
        keep=1,
        follow=True,
        play=True,
    )


# -- sixty unknowns ---------------------------------------------------------------------------

N, MOST = 60, 250
EVEN, SCALES, CLUSTERS, OUTLIERS, UNITS = SPECTRA = [
    "evenly spread",
    "over all scales",
    "three clusters",
    "bulk and outliers",
    "badly scaled variables",
]
NONE, DIAGONAL, ESTIMATED = PRECONDITIONERS = ["none", "diagonal", "estimated diagonal"]


def _random(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def right_hand_side() -> Tensor:
    """b, shape (60,)."""
    return _random(N, seed=7)


def matrix(spectrum: str, condition: float) -> Tensor:
    """A positive definite matrix, shape (60, 60), with these eigenvalues along random directions;
    for badly scaled variables with eigenvalues from 1 to 4 in units from 1 to √condition."""
    Q, _ = torch.linalg.qr(_random(N, N, seed=6))
    top, kind = math.log10(condition), {"dtype": torch.float64}
    if spectrum == UNITS:
        units = torch.logspace(0, top / 2, N, **kind)
        return units[:, None] * (Q @ torch.diag(torch.linspace(1, 4, N, **kind)) @ Q.T) * units
    bulk = torch.linspace(1, min(2, condition), N - 5, **kind)
    jitter = 1 + 0.02 * _random(N, seed=8)
    eigenvalues = {
        EVEN: torch.linspace(1, condition, N, **kind),
        SCALES: torch.logspace(0, top, N, **kind),
        CLUSTERS: torch.logspace(0, top, 3, **kind).repeat_interleave(N // 3) * jitter,
        OUTLIERS: torch.cat([bulk, torch.logspace(0.6 * top, top, 5, **kind)]),
    }[spectrum]
    return Q @ torch.diag(eigenvalues) @ Q.T


def what_is_left(
    A: Tensor, b: Tensor, M: Tensor, points: Sequence[Tensor], reason: str, spent: int
) -> Iterator[Record]:
    """A record for each of CG's points: residual, error and its bound, and the factor that is left
    along each eigenvector of the matrix that CG sees, M½AM½ with M the preconditioner's inverse, as
    a vector. `spent` products went into it."""
    root = M.sqrt()
    seen = root[:, None] * A * root
    eigenvalues, vectors = torch.linalg.eigh(seen)
    kappa = float(eigenvalues[-1] / eigenvalues[0])
    rate = (kappa**0.5 - 1) / (kappa**0.5 + 1)
    krylov = lanczos(seen, min(len(A), max(len(points) - 1, 1)), start=root * b)
    solution = torch.linalg.solve(A, b)
    along = vectors.T @ (solution / root)  # the first error, by eigenvectors
    length = (eigenvalues * along.square()).sum().sqrt()
    for k, x in enumerate(points):
        error = vectors.T @ ((solution - x) / root)
        yield Record(
            step=k,
            loss=float(0.5 * x @ A @ x - b @ x),
            products=spent + k,
            reason=reason if k == len(points) - 1 else "",
            extra={
                "residual": float((b - A @ x).norm() / b.norm()),
                "error": float((eigenvalues * error.square()).sum().sqrt() / length),
                "bound": 2 * rate**k,
                "rate": rate,
                "kappa": kappa,
                "eigenvalues": eigenvalues,
                "left": error / along,
                "lanczos": krylov,
            },
        )


def tridiagonal(krylov: LanczosResult, k: int) -> Tensor:
    """The leading k x k of Lanczos' T."""
    off = krylov.off_diagonal[: max(k - 1, 0)]
    return torch.diag(krylov.diagonal[:k]) + torch.diag(off, 1) + torch.diag(off, -1)


def polynomial(krylov: LanczosResult, k: int, at: Tensor) -> Tensor:
    """P_k, by its zeros: the eigenvalues of A on the Krylov space (Ritz values)."""
    if k == 0:
        return torch.ones_like(at)
    return (1 - at[:, None] / torch.linalg.eigvalsh(tridiagonal(krylov, k))).prod(1)


def allowed(record: Record) -> int:
    """Steps after which the bound promises the error that this record has."""
    rate, error = record.extra["rate"], record.extra["error"]
    return math.ceil(math.log(error / 2) / math.log(rate)) if rate > 1e-6 and error else 1


def spectra(solve: Callable[..., Iterable[Record]]) -> Panel:
    """`solve(spectrum, condition, preconditioner, tolerance)` yields records of `what_is_left`."""
    return Panel(
        solve,
        controls=[
            drop_down("spectrum", "eigenvalues", SPECTRA, SCALES),
            log_slider("condition", "κ", low=1, high=1e5, value=1e3),
            drop_down("preconditioner", "preconditioner", PRECONDITIONERS),
            log_slider("tolerance", "tolerance", low=1e-10, high=0.5, value=0.2),
        ],
        figures=[
            figures.Curves(
                {
                    "residual": lambda r: r.extra["residual"],
                    "error": lambda r: r.extra["error"],
                    "bound on error": lambda r: r.extra["bound"],
                },
                x="products",
                title="What is left",
                x_title="products",
                y_title="relative to the start",
                x_range=[0, MOST],
                y_range=[1e-10, 100],
                y_log=True,
                goal={"x": (0, 25), "y": (1e-10, 1e-8)},
            ),
            Sketch(
                _factors,
                {"polynomial": "line", "eigenvalues": "points"},
                title="What is left along each eigenvector",
                x_title="eigenvalue",
                y_title="factor",
                x_range=[0.01, 2e5],
                x_log=True,
                y_range=[-1.5, 1.5],
            ),
        ],
        readout=_read_solve,
        title="Conjugate gradients on 60 unknowns",
        goal="κ = 30,000, relative residual 1e-8, at most 25 products in all",
        reached=reached("05.few_products"),
        keep=2,
        follow=True,
    )


def _factors(records: Sequence[Record], values: dict[str, Any]) -> dict[str, Any]:
    """The right figure: P_k as a line, what is left along each eigenvector as points."""
    last = records[-1]
    left, krylov = last.extra["left"], last.extra["lanczos"]
    inside = left.abs() <= 1.5
    shown = {"eigenvalues": (last.extra["eigenvalues"][inside], left[inside])}
    if last.step > len(krylov.diagonal):
        return shown  # rounding has led CG away from what this formula describes
    grid = torch.logspace(-2, 5.3, 1500, dtype=torch.float64)
    p = polynomial(krylov, last.step, grid)
    # Between large eigenvalues it swings so fast that its line would fill the picture.
    return shown | {"polynomial": (grid, torch.where(p.abs() < 1.6, p, torch.nan))}


def _read_solve(records: Sequence[Record], values: dict[str, Any]) -> str:
    last, spent = records[-1], records[0].products
    extra = f" ({spent} of them for the preconditioner)" if spent else ""
    return (
        f"Products: {last.products}{extra}. Relative residual {last.extra['residual']:.1e}, "
        f"{last.reason or 'under way'}. The matrix that CG sees has κ = "
        f"{last.extra['kappa']:.3g}; the bound promises this error after {allowed(last)} steps."
    )


# -- stopping early ---------------------------------------------------------------------------


def least(records: Sequence[Record]) -> Record:
    """The record with the least mean error on new data."""
    return min(records, key=lambda r: r.val_loss)


def gains_nothing(records: Sequence[Record], values: dict[str, Any]) -> bool:
    """Whether the last iteration is as good as the best one: to 1 %, or to rounding."""
    return records[-1].val_loss < 1.01 * least(records).val_loss + 1e-6 * records[0].val_loss


def early(stop_early: Callable[..., Iterable[Record]]) -> Panel:
    """`stop_early(noise, measurements)` yields a record for each iteration of CG, with the mean
    error in `val_loss`, and the `errors` and `ridge` of each draw in `extra`."""
    return Panel(
        stop_early,
        controls=[
            slider("noise", "noise", low=0.0, high=1.0, step=0.05, value=0.3),
            slider("measurements", "measurements", low=22, high=200, step=2, value=26),
        ],
        figures=[
            figures.Curves(
                {"mean of five": "val_loss"}
                | {f"draw {i + 1}": lambda r, i=i: r.extra["errors"][i] for i in range(5)},
                marker_at_min="mean of five",
                title="Error on new data",
                x_title="CG iterations",
                y_title="mean squared error",
                x_range=[0, ITERATIONS],
                y_range=[0.01, 10],
                y_log=True,
            )
        ],
        readout=_read_early,
        total=ITERATIONS + 1,
        title="No penalty, but few iterations",
        goal="a noise at which stopping early gains less than 1 %",
        reached=gains_nothing,
        keep=0,
        follow=True,
    )


def _read_early(records: Sequence[Record], values: dict[str, Any]) -> str:
    best, end = least(records), records[-1]
    ridge = sum(end.extra["ridge"]) / len(SEEDS)
    return (
        f"Mean test error: least after {best.step} iterations, {best.val_loss:.3f}; after "
        f"{end.step} it is {end.val_loss:.3f}. Ridge regression with the best λ for each draw: "
        f"{ridge:.3f}."
    )
