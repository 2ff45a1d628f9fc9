"""What all penalties share: the entries they act on, each with its weight, around a centre.

A separable penalty is R(theta) = sum_i w_i r(theta_i - c_i): r is the formula, c the centre (zero,
or the pre-trained weights for the "SP" kinds of Xuhong Li et al., 2018) and w_i the weight of
coordinate i: lambda, or 0 for a coordinate that is left out (:func:`penalized` tells which).
"""

# Annotations are objects here, not strings: dataclasses in other modules take them over.
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from ..arguments import flag, named_tensors, numbers, real, vector
from ..objective.parameters import flatten
from ..scaling import weighted_sum


def penalized(params: Iterable) -> list[bool]:
    """Which parameters a penalty acts on by default: weights, not biases nor normalizations.

    Shapes decide, and the last part of a name where it says "bias" or "weight"; a layer's own name
    says nothing. In are

    - tensors of two dimensions or more, unless they are biases or have a bias of their own shape,
      as a LayerNorm over several dimensions has;
    - a vector "weight" whose "bias" has another shape: a layer with one output.

    Where that is nothing, all that are no biases are in if it is one tensor or all are called
    "weight", and biases if there is nothing else. Groups with ``lambda_reg`` 0 and
    ``include_all=True`` say anything else.

    Args:
        params: tensors or (name, tensor) pairs, as ``model.named_parameters()`` gives.

    Raises:
        ValueError: several vectors or numbers of which nothing tells the weights from the biases.
    """
    named = pairs(params)
    shapes = {name: p.shape for name, p in named}
    last = [name.rpartition(".")[2] for name, _ in named]
    biases = ["bias" in word.lower().split("_") for word in last]
    flags = []
    for (name, p), word, bias in zip(named, last, biases, strict=True):
        beside = shapes.get(name.removesuffix("weight") + "bias") if word == "weight" else None
        matrix = p.ndim >= 2 if beside is None else p.shape != beside
        flags.append(matrix and not bias)
    if any(flags) or not named:
        return flags
    rest = [not bias for bias in biases]
    called = {word for word, bias in zip(last, biases, strict=True) if not bias}
    if sum(rest) > 1 and called != {"weight"}:
        raise ValueError(
            f"expected parameters that tell weights from biases, got {sum(rest)} without a matrix "
            "among them: pass model.named_parameters(), whose names say which is a bias; or "
            "put those that are not penalized into a group with lambda_reg=0 and pass the "
            "regularizer with include_all=True, as L2(include_all=True), which penalizes the others"
        )
    return rest if any(rest) else [True] * len(named)


def pairs(params: Iterable) -> list[tuple[str, Tensor]]:
    """Tensors or (name, tensor) pairs as pairs, with an empty name where there is none.

    Raises TypeError for anything else.
    """
    return named_tensors("params", params)


def check_lambda(value: float) -> float:
    """A regularization weight, or a ValueError for a negative or non-finite one."""
    if not 0 <= real("lambda_reg", value, finite=False) < float("inf"):
        raise ValueError(f"expected a finite lambda_reg >= 0, got {value}")
    return value


@dataclass(frozen=True, eq=False, kw_only=True)
class Regularizer:
    """Base of all penalties; a separable one states its formula r in ``_value`` and so on.

    Frozen: nothing that uses a penalty changes it. Without parameters it acts on any flat vector,
    all entries alike (toys). :meth:`on` makes another one that is bound to parameters, with a
    weight for each entry and its centre; so does the constructor if it is given parameters. The
    methods of a bound penalty default to the parameters' current values. A kind with settings of
    its own is a frozen dataclass, too, as :class:`~rlhf_lib.regularizers.ElasticNet` is.

    Args:
        params: tensors or (name, tensor) pairs, as ``model.named_parameters()`` gives, to be bound
            to with lambda 1.
        weight: the penalty's own weight, which multiplies the lambda_reg of whoever uses it: one
            number, or a vector of shape (n,) with one for each entry of theta (0 for an intercept).
        include_all: penalize biases and normalization weights, too; what is left out by default
            tells :func:`penalized`.
        center: flat vector of shape (n,) that the penalty pulls to; default zero, or for the SP
            kinds the values of the parameters when they are bound.

    Attributes:
        weights: lambda times ``weight`` for each entry, shape (n,); None if not bound.
        smooth: R has a gradient everywhere.
        separable: R is a sum over single entries, so that its Hessian is diagonal and its kinks
            split space into orthants. Only then is there an orthant-wise method.
        from_start: R pulls to the values at the start.

    >>> from rlhf_lib.regularizers import L2
    >>> half = L2(weight=0.5).on([torch.ones(2, 3)], [4.0])
    >>> half.weights, half.value(torch.ones(6))
    (tensor([2., 2., 2., 2., 2., 2.]), tensor(6.))
    """

    params: Iterable | None = field(default=None, kw_only=False, repr=False)
    weight: float | Tensor = 1.0
    include_all: bool = False
    center: Tensor | None = field(default=None, repr=False)
    weights: Tensor | None = field(default=None, init=False, repr=False)

    smooth = True
    separable = True
    from_start = False

    def __post_init__(self):
        numbers("weight", self.weight, least=0.0)
        flag("include_all", self.include_all)
        if self.center is not None:
            vector("center", self.center, finite=True)
        if self.params is not None:
            vars(self).update(vars(self.on(self.params)))

    @property
    def entrywise(self) -> bool:
        """Whether the prox takes entry by entry, so that each may have a step length of its own."""
        return self.separable

    def on(
        self, params: Iterable, lambdas: Iterable[float] | None = None, center: Tensor | None = None
    ) -> Self:
        """This penalty bound to parameters, as an object of its own; self stays as it is.

        Args:
            params: tensors or (name, tensor) pairs.
            lambdas: lambda_reg of each parameter, default 1. An entry's lambda is its parameter's
                times the penalty's own ``weight``, whatever it was bound to before.
            center: flat vector of shape (n,) instead of the penalty's own.

        Raises:
            ValueError: a negative or non-finite lambda, a ``weight`` or a centre of another length.
        """
        named = pairs(params)
        tensors = tuple(p for _, p in named)
        if isinstance(lambdas, str) or not isinstance(lambdas, Iterable | None):
            raise TypeError(f"expected lambdas as a list of numbers, got {lambdas!r}")
        each = [1.0] * len(tensors) if lambdas is None else [check_lambda(w) for w in lambdas]
        if len(each) != len(tensors):
            raise ValueError(f"expected {len(tensors)} lambdas, one a parameter, got {len(each)}")
        for p, w in zip(tensors, each, strict=True):
            if p.is_floating_point() and w > torch.finfo(p.dtype).max:
                raise ValueError(
                    f"expected a lambda_reg that is a number of the parameters' type {p.dtype}, "
                    f"got {w:g}"
                )
        flat = flatten(
            torch.full_like(p, w if flag else 0.0, requires_grad=False)
            for p, w, flag in zip(tensors, each, self._flags(named), strict=True)
        )
        center = self.center if center is None else center
        if self.from_start and center is None:
            center = flatten(p.detach() for p in tensors).clone()
        if center is not None:
            vector("center", center, finite=True)
        if center is not None and center.shape != flat.shape:
            raise ValueError(
                f"expected a center of shape {tuple(flat.shape)}, got {tuple(center.shape)}"
            )
        return self._with(params=tensors, weights=flat * _fit(self.weight, flat), center=center)

    def _with(self, **fields) -> Self:
        """A copy with other fields, which are set before anybody else sees it."""
        made = copy(self)
        vars(made).update(fields)
        return made

    def _flags(self, named: list[tuple[str, Tensor]]) -> list[bool]:
        return [True] * len(named) if self.include_all else penalized(named)

    def _offset(self, theta: Tensor | None) -> Tensor:
        """theta - center for the given or the current parameters, shape (n,)."""
        if theta is None:
            if self.params is None:
                raise ValueError(
                    f"expected theta, got none, and {type(self).__name__} is not bound to "
                    "parameters: pass theta, or construct it with model.named_parameters()"
                )
            theta = flatten(p.detach() for p in self.params)
        if self.from_start and self.center is None:
            raise ValueError(
                f"expected the point that {type(self).__name__} pulls to, got none: pass "
                "center=theta0, or construct it with the model's parameters before training"
            )
        vector("theta", theta, None if self.center is None else self.center.numel())
        return theta if self.center is None else theta - self.center

    def _w(self, like: Tensor) -> Tensor:
        """Effective weight of each entry of ``like``: a scalar or of shape (n,)."""
        return _fit(self.weight if self.weights is None else self.weights, like)

    def value(self, theta: Tensor | None = None) -> Tensor:
        """R(theta), a scalar."""
        d = self._offset(theta)
        total = self._sum(d)
        # A square may leave the range of the type where the sum of all, weighted, does not.
        return total if bool(total.isfinite()) else self._sum(d.double())

    def _sum(self, d: Tensor) -> Tensor:
        w, values = self._w(d), self._value(d)
        return weighted_sum(w, values) if w.ndim else w * values.sum()

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """Gradient of R, shape (n,); at a kink the minimum-norm subgradient, which is 0."""
        d = self._offset(theta)
        return self._w(d) * self._derivative(d)

    def subgradient(self, task_gradient: Tensor, theta: Tensor | None = None) -> Tensor:
        """Minimum-norm subgradient of task + R, shape (n,): zero exactly at a minimizer (KKT)."""
        d = self._offset(theta)
        vector("task_gradient", task_gradient, d.numel())
        total = task_gradient + self._w(d) * self._derivative(d)
        if self.smooth:
            return total
        jump = self._w(d) * self._jump(d)
        return total - total.clamp(-jump, jump)

    def curvature(self, theta: Tensor | None = None) -> Tensor:
        """The Hessian of a separable R where it exists, as its diagonal (n,); 0 for L1."""
        d = self._offset(theta)
        return self._w(d) * self._second_derivative(d)

    def curvature_product(self, v: Tensor, theta: Tensor | None = None) -> Tensor:
        """Hessian of R, where it exists, times v of shape (n,) or (n, k); 0 at a kink of L1."""
        c = self.curvature(theta)
        return c * v if v.ndim == 1 else c[:, None] * v

    def prox(self, x: Tensor, step: float | Tensor = 1.0) -> Tensor:
        """argmin_z |z - x|^2 / 2 + step * R(z), shape (n,); ``step`` may be per coordinate."""
        d = self._offset(x)
        z = self._prox(d, steps(step, d) * self._w(d))
        return z if self.center is None else z + self.center

    def at_kink(self, theta: Tensor) -> Tensor:
        """Mask of the entries, shape (n,), in which R has no derivative at theta."""
        d = self._offset(theta)
        return self._w(d) * self._jump(d) > 0

    def crossed(self, start: Tensor, end: Tensor) -> Tensor:
        """Mask of the entries, shape (n,), that pass their kink on the way from start to end."""
        a, b = self._offset(start), self._offset(end)
        return (a.sign() * b < 0) & (self._w(a) * self._jump(torch.zeros_like(a)) > 0)

    def landed(self, start: Tensor, end: Tensor) -> Tensor:
        """``end`` with the entries that pass their kink on the way from ``start`` put on it."""
        kink = torch.zeros_like(end) if self.center is None else self.center
        return torch.where(self.crossed(start, end), kink, end)

    def orthant(self, theta: Tensor, descent: Tensor) -> tuple[Tensor, Tensor]:
        """Signs (+1, -1, or 0 for no restriction) of theta - center in which R stays smooth.

        Args:
            theta: the point, shape (n,).
            descent: minus the minimum-norm subgradient there; it chooses the side for the entries
                that sit at the kink.

        Returns:
            signs and the mask of entries that sit at the kink and should stay, both (n,).
        """
        d = self._offset(theta)
        kinked = self._w(d) * self._jump(torch.zeros_like(d)) > 0
        signs = torch.where(d != 0, d.sign(), descent.sign()) * kinked
        return signs, kinked & (d == 0) & (descent == 0)

    def project(self, theta: Tensor, signs: Tensor) -> Tensor:
        """Put entries that left the orthant at the kink, exactly."""
        d = self._offset(theta)
        at_kink = torch.zeros_like(theta) if self.center is None else self.center
        return torch.where(d * signs < 0, at_kink, theta)

    def _value(self, d: Tensor) -> Tensor:
        raise NotImplementedError

    def _derivative(self, d: Tensor) -> Tensor:
        raise NotImplementedError

    def _second_derivative(self, d: Tensor) -> Tensor:
        return torch.zeros_like(d)

    def _jump(self, d: Tensor) -> Tensor:
        """Half the jump of r' at d: 1 at the kink of L1, 0 where r is smooth."""
        return torch.zeros_like(d)

    def _prox(self, d: Tensor, t: Tensor) -> Tensor:
        raise NotImplementedError


def _fit(weight: float | Tensor, like: Tensor) -> Tensor:
    """A weight as a tensor of like's kind: a scalar, or of like's shape."""
    weight = torch.as_tensor(weight, dtype=like.dtype, device=like.device)
    if weight.ndim and weight.shape != like.shape:
        raise ValueError(
            f"expected one weight or {tuple(like.shape)} of them, got {tuple(weight.shape)}"
        )
    return weight


def steps(step: float | Tensor, like: Tensor) -> float | Tensor:
    """A prox's step, or one for each entry. Raises TypeError or ValueError for a wrong one."""
    if isinstance(step, Tensor) and step.ndim:
        return vector("step", step, like.numel())
    if not real("step", step, finite=False) >= 0:
        raise ValueError(f"expected step >= 0, got {step}")
    return step


class Zero(Regularizer):
    """No penalty, without a pass over the weights to find that out."""

    def value(self, theta=None):
        return self._offset(theta).new_zeros(())

    def gradient(self, theta=None):
        return torch.zeros_like(self._offset(theta))

    def subgradient(self, task_gradient, theta=None):
        return task_gradient

    def curvature(self, theta=None):
        """Zero, as a scalar that stands for every entry."""
        return self._offset(theta).new_zeros(())

    def curvature_product(self, v, theta=None):
        return torch.zeros_like(v)

    def prox(self, x, step=1.0):
        return x

    def at_kink(self, theta):
        return torch.zeros_like(theta, dtype=torch.bool)

    def crossed(self, start, end):
        return torch.zeros_like(start, dtype=torch.bool)
