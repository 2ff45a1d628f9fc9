"""Notebook 07: two spectra side by side, and what its experiments need besides the lesson."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rlhf_lib.curvature import GaussNewtonOperator, HessianOperator, spectral_density
from rlhf_lib.panels import Panel, slider
from rlhf_lib.panels import choice as options
from rlhf_lib.record import Record

from ..checking.goals import reached
from ..checking.predictions import choice, curve
from .remembered import Remembered
from .sketch import Sketch

curve(
    "07.gap",
    "The network is trained with cross-entropy until it fits all labels. How far is G from H, as a "
    "share of H?",
    truth=[0.893, 0.464, 0.293, 0.291, 0.297, 0.301, 0.305, 0.307, 0.309, 0.310, 0.312],
    axes={
        "x_range": [0, 200],
        "y_range": [0, 1.2],
        "x_title": "training step",
        "y_title": "‖(H − G)v‖ / ‖Hv‖",
    },
    why="At the start G misses most of H. Later H, G and their difference fade together, and the "
    "share that G misses stays.",
)
choice(
    "07.same",
    "After 200 steps of training, with which loss are H and G the same matrix, to about a percent?",
    ["with both", "with cross-entropy only", "with squared error only", "with neither"],
    truth=2,
    why="What G drops is multiplied by the slope of the loss at the outputs. With squared error "
    "that slope fades while the curvature stays; with cross-entropy both fade.",
)
choice(
    "07.samples",
    "For which of these is the exact solve in the space of the samples cheaper than CG, at μ = 0.1 "
    "and at μ = 0.001?",
    [
        "for both",
        "for the 64 images of 3s and 8s only",
        "for the 256 images of all digits only",
        "for neither",
    ],
    truth=1,
    why="It costs one backward pass for each class but one, and a matrix of n(C − 1) rows: 64 rows "
    "in the one case, 2,304 in the other.",
)

LANCZOS, PROBES = 40, 2
AXIS = torch.linspace(-0.6, 1.6, 441, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(width: int, inputs: int = 64, classes: int = 10) -> torch.nn.Module:
    """One hidden layer of tanh, always the same random weights; width 0: no hidden layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if width == 0:
            return torch.nn.Sequential(torch.nn.Linear(inputs, classes))
        return torch.nn.Sequential(
            torch.nn.Linear(inputs, width), torch.nn.Tanh(), torch.nn.Linear(width, classes)
        )


def jacobian(model: torch.nn.Module, x: Tensor) -> Tensor:
    """The Jacobians of the outputs at each sample, shape (n, C, p)."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(weights: dict, one: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (one[None],))[0]

    parts = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(weights, x)
    return torch.cat([part.flatten(2) for part in parts.values()], dim=2)


class EmpiricalFisher:
    """E @ v from the gradients of the single samples, the rows of a matrix of shape (n, p)."""

    def __init__(self, model: torch.nn.Module, loss: Callable, x: Tensor, y: Tensor):
        weights = {name: p.detach() for name, p in model.named_parameters()}

        def alone(weights: dict, one: Tensor, target: Tensor) -> Tensor:
            return loss(torch.func.functional_call(model, weights, (one[None],)), target[None])

        gradients = torch.func.vmap(torch.func.grad(alone), (None, 0, 0))(weights, x, y)
        self.rows = torch.cat([g.flatten(1) for g in gradients.values()], dim=1)
        self.shape, self.dtype = (self.rows.shape[1],) * 2, self.rows.dtype

    def __matmul__(self, v: Tensor) -> Tensor:
        return self.rows.T @ (self.rows @ v) / len(self.rows)


def gap(H: Any, G: Any) -> float:
    """‖(H − G) v‖ over ‖H v‖, root mean squares over four random v."""
    generator, apart, whole = seeded(1), 0.0, 0.0
    for _ in range(4):
        v = torch.randn(H.shape[0], generator=generator, dtype=torch.float64)
        Hv = H @ v
        apart += float((Hv - G @ v).square().sum())
        whole += float(Hv.square().sum())
    return (apart / whole) ** 0.5


def photograph(step: int, H: Any, G: Any, E: Any) -> Record:
    """The three spectra from products alone, and how far G is from H."""
    spectra = {
        name: spectral_density(A, LANCZOS, PROBES, generator=seeded(2))
        for name, A in (("H", H), ("G", G), ("E", E))
    }
    return Record(step=step, loss=H.loss, extra={"gap": gap(H, G), **spectra})


def ends(record: Record, name: str = "H") -> tuple[float, float]:
    """The smallest and the largest eigenvalue of one of the matrices, as Lanczos has them."""
    nodes = record.extra[name].nodes
    return float(nodes[0]), float(nodes[-1])


def spectra(watch: Callable[..., Iterable[Record]], every: int) -> Panel:
    """`watch(loss, width, steps)` yields a photograph at each `every` steps and at the last."""
    remembered = Remembered(watch, ["loss", "width"], lambda r, values: r.step <= values["steps"])
    return Panel(
        remembered,
        controls=[
            options("loss", "loss", ["cross-entropy", "squared error"]),
            slider("width", "hidden units", low=0, high=32, step=4, value=16),
            slider("steps", "training steps", low=0, high=300, step=20, value=0),
        ],
        figures=[
            _density("H", "Spectrum of the Hessian H"),
            _density("G", "Spectrum of the Gauss-Newton matrix G"),
            _density("E", "Spectrum of the empirical Fisher E"),
        ],
        readout=_read,
        total=lambda values: math.ceil(values["steps"] / every) + 1,
        title="Two spectra, side by side",
        goal="with a hidden layer, ‖(H − G)v‖ below 2 % of ‖Hv‖",
        reached=reached("07.agree"),
        keep=1,  # the run before, as a pale line
        preview=remembered.preview,
    )


def _density(name: str, title: str) -> Sketch:
    def place(records: Sequence[Record], values: Mapping[str, Any]) -> dict:
        found = records[-1].extra[name]
        top = max(ends(records[-1])[1], 1e-12)
        height = found.smoothed(AXIS * top, 0.01 * top) * top
        return {"density": (AXIS, torch.where(height > 2e-3, height, torch.nan))}

    return Sketch(
        place,
        {"density": "line"},
        ghosts=["density"],
        title=title,
        x_title="eigenvalue / largest eigenvalue of H",
        y_title="density",
        x_range=[-0.6, 1.6],
        y_range=[2e-3, 100],
        y_log=True,
    )


def _read(records: Sequence[Record], values: dict[str, Any]) -> str:
    last = records[-1]
    low, high = ends(last)
    return (
        f"Step {last.step}, loss {last.loss:.3f}. H: eigenvalues from {low:.2g} to {high:.2g}; "
        f"G: from 0 to {ends(last, 'G')[1]:.2g}; E: from 0 to {ends(last, 'E')[1]:.2g}. "
        f"‖(H − G)v‖ is {last.extra['gap']:.1%} of ‖Hv‖."
    )


SMALL_X = torch.randn(12, 4, generator=seeded(0), dtype=torch.float64)
SMALL_Y = torch.randint(3, (12,), generator=seeded(1))


def small(width: int, loss: Callable) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """H and G, dense, the Jacobians (12, 3, p) and the outputs (12, 3) of a model of 12 samples."""
    model = network(width, inputs=4, classes=3)

    def closure() -> tuple[Tensor, Tensor]:
        z = model(SMALL_X)
        return loss(z, SMALL_Y), z

    H, G = (A(closure, model.parameters()).dense() for A in (HessianOperator, GaussNewtonOperator))
    return H, G, jacobian(model, SMALL_X), model(SMALL_X).detach()


LENGTHS = [2.0**k for k in range(-10, 11)]
MUS = (0.001, 0.01, 0.1)


def directions(matrix: str, model: torch.nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """-(M + mu I)^-1 g of cross-entropy for each of MUS, with M = "G" or "E"; "I": -g alone."""
    J, pi, n = jacobian(model, x), model(x).detach().softmax(1), len(x)
    rows = torch.einsum("ncp,nc->np", J, pi - torch.nn.functional.one_hot(y, pi.shape[1]))
    g = rows.mean(0)
    if matrix == "I":
        return [-g]
    if matrix == "G":  # diag(pi) - pi pi' = S S' with S = diag(r) - pi r', where r r = pi
        S = torch.diag_embed(pi.sqrt()) - pi[:, :, None] * pi.sqrt()[:, None, :]
        rows = torch.einsum("ncd,ncp->ndp", S, J).flatten(0, 1)
    M, eye = rows.T @ rows / n, torch.eye(len(g), dtype=g.dtype)
    return [
        -torch.cholesky_solve(g[:, None], torch.linalg.cholesky(M + mu * eye))[:, 0] for mu in MUS
    ]


def searched(matrix: str, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The losses of the network on a walk: each step has the best of 21 lengths and of all mu."""
    model = network(16)
    params, losses = list(model.parameters()), []

    @torch.no_grad()
    def value(theta: Tensor) -> float:
        vector_to_parameters(theta, params)
        return float(torch.nn.functional.cross_entropy(model(x), y))

    for step in range(steps + 1):
        theta = parameters_to_vector(params).detach().clone()
        losses.append(value(theta))
        if step < steps:
            tried = [theta + t * d for d in directions(matrix, model, x, y) for t in LENGTHS]
            value(min([theta, *tried], key=value))
    return losses
