"""Checks of notebook 07."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, one_hot

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import Wrong, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..checking.watched import Watched
from ..cost.counted import flops


@goal("07.agree")
def agree(records, values):
    """A network with a hidden layer for which ‖(H - G) v‖ is below 2 % of ‖H v‖."""
    apart, step = records[-1].extra["gap"], records[-1].step
    require(
        values["width"] > 0,
        "Without a hidden layer the outputs are linear in θ and H = G from the start: too easy. "
        "Take hidden units.",
    )
    if apart < 0.02:
        return correct("Where the slopes at the outputs are gone, nothing is left to be dropped.")
    found = f"‖(H − G)v‖ is {apart:.1%} of ‖Hv‖ after {step} steps. "
    require(
        values["loss"] == "squared error",
        found + "With cross-entropy slope and curvature of the loss fade together, and their "
        "ratio stays: take the other loss.",
    )
    require(
        values["width"] >= 12,
        found + "So few hidden units cannot fit all labels: their residuals, and what G drops, "
        "stay.",
    )
    raise Wrong(found + "The residuals are still large: train on.")


def _model(seed):
    """(outputs of θ, θ, direction, labels): a small network with tanh units, sizes drawn."""
    n, d, h, C = (integer(low, low + 3, seed=seed + k) for k, low in enumerate((6, 3, 4, 3)))
    p = d * h + h * C
    X, theta, v = randn(n, d, seed=seed), randn(p, seed=seed + 20), 2 * randn(p, seed=seed + 40)

    def outputs(t):
        return torch.tanh(X @ t[: d * h].view(d, h)) @ t[d * h :].view(h, C)

    return outputs, theta, v, torch.arange(n) % C


def _is_cheap(answer):
    """As many operations as a few gradients, however many outputs there are."""
    outputs, theta, v, labels = _model(60)
    entries = outputs(theta).numel()
    mix = randn(entries // len(labels), 40, seed=70)

    def cost(loss):
        gradient = flops(lambda: torch.func.grad(lambda t: loss(outputs(t)))(theta))
        return flops(lambda: call(answer, outputs, loss, theta, v)) / gradient

    # Products of matrices are counted: those of the network, or mostly those of the loss.
    most = max(
        cost(lambda z: cross_entropy(z, labels)), cost(lambda z: (z @ mix).cosh().log().sum())
    )
    require(
        most < 6,
        f"With {len(theta)} weights and {entries} outputs your product costs as much as {most:.0f} "
        "gradients: somewhere it builds a matrix, J or the Hessian of the loss. Three passes are "
        "enough.",
    )


@exercise("07.ggn_product")
def ggn_product(answer):
    """A function (outputs, loss, theta, v) -> G v = J' (Hessian of loss at the outputs) J v."""
    for seed in range(2):
        outputs, theta, v, labels = _model(seed)
        z = outputs(theta)
        losses = {
            "cross-entropy": lambda z, y=labels: cross_entropy(z, y),
            "squared error": lambda z, y=labels: (z - one_hot(y, z.shape[1])).square().mean(),
        }
        for name, loss in losses.items():
            J = torch.autograd.functional.jacobian(outputs, theta).flatten(0, 1)  # (n C, p)
            inner = torch.autograd.functional.hessian(loss, z).reshape(len(J), len(J))
            H = torch.autograd.functional.hessian(lambda t, f=loss, z=outputs: f(z(t)), theta)
            slope = torch.autograd.functional.jacobian(loss, z).flatten()
            watched = Watched(outputs, theta, 1e-12), Watched(loss, z, 1e-12)
            product = call(answer, *watched, theta, v)
            require(
                not any(f.elsewhere for f in watched),
                "You evaluate the network or the loss at other points than θ and z: a quotient with "
                "an ε has an error. jvp, vjp and a Hessian-vector product have none.",
            )
            expect(
                product,
                J.T @ inner @ J @ v,
                {
                    "That is Hv: you differentiated the network twice. Differentiate the loss "
                    "twice at the outputs, and the network once on each side.": H @ v,
                    "That is J'Jv: the Hessian of the loss at the outputs is missing in between.": J.T
                    @ J
                    @ v,
                    "That is the change of the outputs, Jv. Two factors are to come.": (
                        J @ v
                    ).view_as(z),
                    "That is ΛJv, still in the space of the outputs: pull it back with J'.": (
                        inner @ J @ v
                    ).view_as(z),
                    "That is g (g'v), the gradient times itself; G is no outer product.": (
                        J.T @ slope
                    )
                    * (J.T @ slope @ v),
                    "That is the gradient of the loss: v has not been used.": J.T @ slope,
                },
                f"The loss was {name}. Go from right to left: Jv, the Hessian of the loss at z "
                "times that, J' times that.",
                what="product",
                rtol=1e-9,
            )
    _is_cheap(answer)
    return correct("It agrees with the dense J'ΛJ, for the price of a few gradients.")


@exercise("07.fishers")
def fishers(answer):
    """A function (J, pi, y) -> (Fisher, empirical Fisher) of a softmax classifier."""
    for seed in range(2):
        n, classes, p = (
            integer(low, low + 3, seed=seed + k) for k, low in ((20, 6), (30, 3), (40, 4))
        )
        J, pi = randn(n, classes, p, seed=seed), randn(n, classes, seed=seed + 10).softmax(1)
        y = randn(n, classes, seed=seed + 50).argmax(1)
        e = torch.eye(classes)

        def outer(labels, J=J, pi=pi, e=e):
            """Gradients times themselves with these labels, shape (n, p, p)."""
            g = torch.stack([J[i].T @ (pi[i] - e[c]) for i, c in enumerate(labels)])
            return g[:, :, None] * g[:, None, :]

        every = torch.stack([outer([c] * n) for c in range(classes)], 1)  # (n, C, p, p)
        F, E = (pi[:, :, None, None] * every).sum((0, 1)) / n, outer(y.tolist()).mean(0)
        pair = parts(call(answer, J, pi, y), "(F, E)")
        g = torch.einsum("ncp,nc->p", J, pi - e[y]) / n
        expect(
            pair[0],
            F,
            {
                "The pair is the other way round: the Fisher first, drawn from the model.": E,
                "F is a mean over the samples: divide by n.": n * F,
                "All labels count alike in your F; weight each with its probability.": every.mean(
                    (0, 1)
                ),
                "The middle is diag(π) alone; the − ππ' comes from the π in π − e.": torch.einsum(
                    "ncp,nc,ncq->pq", J, pi, J
                )
                / n,
                "That is the mean of J'J: the middle matrix diag(π) − ππ' is missing.": torch.einsum(
                    "ncp,ncq->pq", J, J
                )
                / n,
            },
            "F: for every sample, the mean over all labels, weighted with pi.",
            what="Fisher",
        )
        expect(
            pair[1],
            E,
            {
                "E is a mean over the samples: divide by n.": n * E,
                "E is the outer product of the mean gradient; the mean of the outer products is "
                "wanted.": g[:, None] * g[None, :],
                "Both are the Fisher: in E the labels are those of the data, y.": F,
                "In E a gradient is J' (π − e_y): the π is missing.": torch.einsum(
                    "np,nq->pq", J[range(n), y], J[range(n), y]
                )
                / n,
            },
            "E: one gradient for each sample, with its own label y[i].",
            what="empirical Fisher",
        )
    return correct("The model's own labels make F, those of the data make E.")


@exercise("07.colleague")
def colleague(answer):
    """The letter of the matrix, and a function sigma -> distance at which its step is right."""
    letter, distance = parts(answer, "(suspect, distance)")
    letter = str(letter).strip().upper()
    require(letter in ("H", "G", "F", "E"), 'Answer with one of the letters "H", "G", "F" and "E".')
    require(
        letter == "E",
        f"{letter} is the mean of x² here, at every distance: its step is always right.",
    )
    for seed in range(3):
        sigma = uniform(0.1 + 0.25 * seed, 0.3 + 0.25 * seed, seed=seed)
        expect(
            call(distance, sigma),
            ((1 - sigma**2) / 3) ** 0.5,
            {
                "That is the square of the distance.": (1 - sigma**2) / 3,
                "You took 1 for the mean of x⁴; it is 3.": (1 - sigma**2) ** 0.5,
                "The noise is missing: its squares, times x², have the mean σ².": 3**-0.5,
                "The noise enters by its variance, σ².": ((1 - sigma) / 3) ** 0.5,
                "The noise makes E larger, so that the distance gets smaller.": ((1 + sigma**2) / 3)
                ** 0.5,
                "The noise is not multiplied by 3: x² and ε² are independent.": (1 / 3 - sigma**2)
                ** 0.5
                if sigma**2 < 1 / 3
                else None,
            },
            "Set the mean of (Dx − σε)² x² equal to 1.",
            what="distance",
        )
    return correct("Right at one distance alone: the length of a step with E is an accident.")
