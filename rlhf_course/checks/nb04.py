"""Checks of notebook 04."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, jvp

from rlhf_lib.curvature import exact_hessian
from rlhf_lib.objective import flatten, unflatten

from ..checking.expect import call, expect, randn
from ..checking.feedback import Wrong, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise


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


@exercise("04.hvp")
def hvp(answer):
    """A function (f, theta, v) -> Hessian of f at theta times v, exact to rounding."""
    for seed in range(3):
        p = 5 + seed
        f, g, hessian = _bowl(p, seed)
        theta, v = randn(p, seed=seed + 10), 2 * randn(p, seed=seed + 20)
        H, slope = hessian(theta), g(theta)
        value = _product(answer, f, theta, v)
        if isinstance(value, Tensor) and value.shape == v.shape:
            off = float((value.detach() - H @ v).norm() / (H @ v).norm())
            require(
                not 1e-12 < off < 1e-3,
                f"Close, but off by {off:.0e}: a quotient with an ε has an error. Exact products "
                "differentiate the gradient itself.",
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
                "You divided by |v|: Hv grows with v.": H @ v / v.norm(),
                "That solves Hx = v. The product is asked for.": torch.linalg.solve(H, v),
            },
            "It is the gradient of g @ v with respect to θ, v held fixed.",
            what="product",
            rtol=1e-10,
        )
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
    """A function (product, u, v) -> |u'Hv - v'Hu| / (|u| |Hv| + |v| |Hu|), by two products."""
    for seed in range(3):
        A, u, v = randn(6, 6, seed=seed), randn(6, seed=seed + 10), randn(6, seed=seed + 20)
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
                "Divide by lengths, |u| |Hv| + |v| |Hu|: the inner products may well be near zero.": abs(
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
