"""Checks of notebook 04."""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, jvp

from rlhf_lib.curvature import exact_hessian
from rlhf_lib.objective import flatten, unflatten

from ..checking.cases import integer, randn
from ..checking.expect import call, expect, parts
from ..checking.feedback import Wrong, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..checking.watched import Watched
from ..cost.counted import flops


@goal("04.epsilon", method="central", numbers="float32")
def epsilon(records, values):
    """An epsilon with which the central quotient in float32 is right to 1e-4."""
    error, least = records[-1].extra["error"], min(r.extra["error"] for r in records)
    require(
        error < 1e-4 or values["eps"] < 2e-3,
        f"The error is {error:.1e} and ε = {values['eps']:g} so large that the bend of the "
        "gradient shows. Let ε shrink further.",
    )
    require(
        error < 1e-4,
        f"The error is {error:.1e}, but was {least:.1e} on the way: ε = {values['eps']:g} is so "
        "small that rounding shows. Stop earlier.",
    )
    return correct("Float32 leaves four digits of a product, and only in a narrow valley of ε.")


def _bowl(p: int, seed: int):
    """f(theta) = sum_i log cosh (A theta)_i, its gradient and its Hessian A' diag(1 - tanh²) A."""
    A = randn(p + 2, p, seed=seed) / p**0.5

    def f(t: Tensor) -> Tensor:
        return (A @ t).cosh().log().sum()

    def g(t: Tensor) -> Tensor:
        return A.T @ (A @ t).tanh()

    def H(t: Tensor) -> Tensor:
        return A.T @ ((1 - (A @ t).tanh() ** 2)[:, None] * A)

    return f, g, H


def _normalized():
    """A loss through LayerNorm, of 27 weights."""
    rows, weight = randn(5, 3), randn(5, seed=1)

    def f(t: Tensor) -> Tensor:
        hidden = rows @ t[:12].view(3, 4) + t[12:16]
        normal = torch.nn.functional.layer_norm(hidden, (4,), t[16:20], t[20:24])
        return ((normal[:, :3] @ t[24:27]) * weight).tanh().sum()

    return f, randn(27, seed=2), randn(27, seed=3)


@cache
def _tiny_bert():
    """The loss of a whole tiny BERT as a function of its weights, these, and its Hessian."""
    from rlhf_lib.text import load_model

    model, tokenizer = load_model("classification", name="tiny-random", dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, len(tokenizer), (2, 6), generator=generator)
    labels = torch.tensor([0, 1])
    names, weights = zip(*model.named_parameters(), strict=True)

    def f(t: Tensor) -> Tensor:
        pieces = dict(zip(names, unflatten(t, weights), strict=True))
        logits = functional_call(model, pieces, (ids,)).logits
        return torch.nn.functional.cross_entropy(logits, labels)

    theta = flatten(w.detach() for w in weights)
    return f, theta, exact_hessian(f, theta)


def _product(answer, f, theta: Tensor, v: Tensor):
    try:
        return call(answer, f, theta, v)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise Wrong(
            "The gradient has no graph to differentiate: create_graph=True in the first call, and "
            "a point that requires a gradient."
        ) from None


def _is_cheap(answer):
    """As many operations as a few gradients, whatever p."""
    p = integer(60, 90, seed=5)
    A, theta, v = randn(p + 2, p, seed=5) / p**0.5, randn(p, seed=6), randn(p, seed=7)

    def f(t: Tensor) -> Tensor:
        return (A @ t[:, None]).cosh().log().sum()  # products of matrices alone are counted

    cost = flops(lambda: _product(answer, f, theta, v)) / flops(lambda: grad(f)(theta))
    require(
        cost < 12,
        f"With {p} weights your product costs as much as {cost:.0f} gradients: it builds the matrix, or "
        "a column at a time. Two or three gradients are enough, whatever p.",
    )


@exercise("04.hvp")
def hvp(answer):
    """A function (f, theta, v) -> Hessian of f at theta times v, exact to rounding."""
    for seed in range(3):
        p = integer(5, 9, seed=seed)
        f, g, hessian = _bowl(p, seed)
        theta, v = randn(p, seed=seed + 10), 2 * randn(p, seed=seed + 20)
        H, slope = hessian(theta), g(theta)
        f = Watched(f, theta)
        value = _product(answer, f, theta, v)
        if isinstance(value, Tensor) and value.shape == v.shape:
            off = float((value.detach() - H @ v).norm() / (H @ v).norm())
            require(
                not 1e-12 < off < 1e-3,
                f"Close, but off by {off:.0e}: a quotient with an ε has an error. Exact products "
                "differentiate the gradient itself.",
            )
            require(
                not f.elsewhere or off > 1e-3,
                "You evaluated f at other points than θ: that is a quotient, however small its error "
                "is here. Differentiate the gradient at θ itself.",
            )
        expect(
            value,
            H @ v,
            {
                "That is v'Hv, the curvature along v; the vector Hv is asked for.": v @ H @ v,
                "That is the gradient of f. Multiply it with v, and differentiate again.": slope,
                "That is g'v, the slope along v; its gradient with respect to θ is Hv.": slope @ v,
                "That is g (g'v): the gradient times itself is not the Hessian.": slope
                * (slope @ v),
                "The gradient was summed up before v came in: differentiate g @ v, not g.sum().": H.sum(
                    0
                ),
                "You multiplied entry by entry with v after summing up the gradient; v belongs "
                "inside: differentiate g @ v.": H.sum(0) * v,
                "That is the diagonal of H times v; the other entries count, too.": H.diagonal()
                * v,
                "You divided by ‖v‖: Hv grows with v.": H @ v / v.norm(),
                "That solves Hx = v. The product is asked for.": torch.linalg.solve(H, v),
            },
            "It is the gradient of g @ v with respect to θ, v held fixed.",
            what="product",
            rtol=1e-10,
        )
    _is_cheap(answer)
    f, theta, v = _normalized()
    expect(
        _product(answer, f, theta, v),
        exact_hessian(f, theta) @ v,
        {
            "Right without LayerNorm and wrong with it: a nesting as in jvp(jacrev(f)) or "
            "torch.func.hessian, which torch 2.13 gets wrong. Take double backward.": jvp(
                jacrev(f), (theta,), (v,)
            )[1],
            "Right without LayerNorm and wrong with it: grad(jvp(f)) is what torch 2.13 gets "
            "wrong. Take double backward.": grad(lambda t: jvp(f, (t,), (v,))[1])(theta),
        },
        "It was right without LayerNorm, and is not with it.",
        what="product through LayerNorm",
        rtol=1e-9,
    )
    f, theta, H = _tiny_bert()
    v = randn(len(theta), seed=4)
    expect(_product(answer, f, theta, v), H @ v, what="product of a whole BERT", rtol=1e-9)
    return correct(
        f"Your products are those of the dense Hessian, also of a BERT with its {len(theta):,} "
        "weights, and you never built it."
    )


@exercise("04.asymmetry")
def asymmetry(answer):
    """A function (product, u, v) -> |u'Hv - v'Hu| / (‖u‖ ‖Hv‖ + ‖v‖ ‖Hu‖), by two products."""
    for seed in range(3):
        p = integer(5, 9, seed=seed)
        A, u, v = randn(p, p, seed=seed), randn(p, seed=seed + 10), 3 * randn(p, seed=seed + 20)
        calls = 0

        def product(x: Tensor, A: Tensor = A) -> Tensor:
            nonlocal calls
            calls += 1
            return A @ x

        a, b = float(u @ A @ v), float(v @ A @ u)
        size = float(u.norm() * (A @ v).norm() + v.norm() * (A @ u).norm())
        own = abs(float(u @ A @ u - v @ A @ v))
        own_size = float(u.norm() * (A @ u).norm() + v.norm() * (A @ v).norm())
        expect(
            call(answer, product, u, v),
            abs(a - b) / size,
            {
                "That has a sign: take the absolute value of the difference.": (a - b) / size
                if a < b
                else None,
                "The denominator is missing: without it the number grows with H, u and v.": abs(
                    a - b
                ),
                "Divide by lengths, ‖u‖ ‖Hv‖ + ‖v‖ ‖Hu‖: the inner products may well be near zero.": abs(
                    a - b
                )
                / (abs(a) + abs(b)),
                "That is zero for every matrix: exchange u and v in the second product.": 0.0,
                "Those are u'Hu and v'Hv; mix them: u with Hv, and v with Hu.": own / own_size,
            },
            "The two numbers to compare are u @ product(v) and v @ product(u).",
            what="asymmetry",
        )
        require(calls == 2, f"You asked for {calls} products; two are enough.")
    f, theta, v = _normalized()
    u, H = randn(len(theta), seed=5), exact_hessian(f, theta)
    honest = float(call(answer, lambda x: H @ x, u, v))
    liar = float(call(answer, lambda x: jvp(jacrev(f), (theta,), (x,))[1], u, v))
    require(honest < 1e-9, f"For an exact Hessian your number is {honest:.1e}; it should be 0.")
    return correct(
        f"Through LayerNorm it is {liar:.2f} for jvp(jacrev(f)) and below 1e-9 for double "
        "backward: two products caught the bug."
    )


@exercise("04.five_points")
def five_points(answer):
    """a, b of the five-point quotient, its k, and the decades that (3) promises over the central."""
    a, b, k, decades = parts(answer, "(a, b, k, decades)")
    a, b, k, decades = (float(value) for value in (a, b, k, decades))
    c = randn(5)

    def error(power: int) -> float:
        """Of the quotient for the derivative of t ** power at 0, with ε = 1."""
        return a * (1 - (-1) ** power) + b * (2**power - (-2) ** power) - (power == 1)

    require(
        abs(error(1)) < 1e-6,
        f"For a gradient that changes at a constant rate the quotient has to be exact; yours is "
        f"{1 + error(1):.4g} times what it should be: 2a + 4b = 1.",
    )
    require(abs(b) > 1e-9, "With b = 0 that is the central quotient: its error is of the order ε².")
    require(
        abs(error(3)) < 1e-6,
        "An error of the order ε² is left: what do the two brackets hold of the third derivative?",
    )

    # The order, measured: a gradient with all powers, and ε halved.
    def off(eps: float) -> float:
        g = lambda t: (c * torch.exp(c * t)).sum()  # noqa: E731
        quotient = (a * (g(eps) - g(-eps)) + b * (g(2 * eps) - g(-2 * eps))) / eps
        return abs(float(quotient - c.square().sum()))

    order = math.log2(off(0.1) / off(0.05))
    require(
        round(k) == round(order) and abs(k - round(k)) < 1e-9,
        f"a and b are right. Halving ε divides this quotient's error by about 2 to the power of k: "
        f"k is not {k:g}.",
    )
    u = torch.finfo(torch.float64).eps / 2
    expect(
        decades,
        (2 / 3 - 4 / 5) * math.log10(u),
        {
            "That is float32; float64 was asked for.": (2 / 3 - 4 / 5)
            * math.log10(torch.finfo(torch.float32).eps / 2),
            "That compares with the one-sided quotient.": (1 / 2 - 4 / 5) * math.log10(u),
            "Better, not worse: the number is positive.": (4 / 5 - 2 / 3) * math.log10(u),
        },
        "Compare u to the power of k/(k + 1) for k = 2 and k = 4.",
        what="number of decades",
        rtol=0,
        atol=0.1,
    )
    return correct("Two decades for two more gradients; double backward needs neither.")


def _chain_cost(sizes) -> float:
    from rlhf_lib.curvature import HessianOperator

    from ..cost.counted import product_in_gradients

    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    chain = torch.nn.Sequential(*(m for layer in layers for m in (layer, torch.nn.Tanh())))
    at, target = torch.randn(integer(4, 9), sizes[0]), torch.randn(1, sizes[-1])

    def loss() -> Tensor:
        return (chain(at) - target).square().mean()

    weights = list(chain.parameters())
    return product_in_gradients(HessianOperator(loss, weights), loss, weights)


@exercise("04.always_two")
def always_two(answer):
    """Two lists of widths: a product below 1.1 gradients, and one above 1.9."""
    cheap, dear = parts(answer, "(cheap, dear)")
    for name, sizes in (("cheap", cheap), ("dear", dear)):
        require(
            isinstance(sizes, list | tuple | Tensor)
            and len(sizes) > 1
            and all(float(size) == int(size) and 0 < size <= 5000 for size in sizes),
            f"{name}: expected a list of widths, whole numbers from 1 to 5000, such as [500, 20, 10].",
        )
    cheap, dear = ([int(size) for size in sizes] for sizes in (cheap, dear))
    require(
        len(dear) > 3, "dear: at least three layers, so four widths: one layer is a special case."
    )
    low, high = _chain_cost(cheap), _chain_cost(dear)
    require(
        low < 1.1,
        f"cheap costs {low:.2f} gradients. The first layer saves: let it be nearly all of the work.",
    )
    require(
        high > 1.9,
        f"dear costs {high:.2f} gradients. The first layer saves too much there: make it small beside "
        "the others.",
    )
    return correct(f"{low:.2f} and {high:.2f} gradients: two is the limit of deep networks.")
