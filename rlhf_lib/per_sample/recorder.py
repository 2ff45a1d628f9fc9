"""Write down, in one forward pass, where each parameter meets the samples.

For y = x W' the gradient of one sample with respect to W is the sum over its tokens of g_t x_t', g
being the gradient at y. So a forward pass that keeps the x, and one backward pass to the y (not to
the weights), give the gradients of all samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .gradients import Lookup, Outer, PerSample, Plain


@dataclass
class Use:
    """One use of one parameter.

    Attributes:
        param: index of the parameter.
        edge: the output's place in the graph. Not the tensor itself, which a later operation in
            place may move on in the graph.
        rows: ``rows(row, g)`` gives the per-sample gradients, from the gradient g at the output.
        multiplications: scalar multiplications that the parameter's gradient takes here.
    """

    param: int
    edge: GradientEdge = field(repr=False)
    rows: Callable[[int, Tensor], PerSample] = field(repr=False)
    multiplications: int = 0


class Tape(TorchFunctionMode):
    """Records, while active, the uses of parameters in functions whose derivative it knows.

    These are linear layers, matrix products, embeddings, layer normalization, and sums and products
    with a vector, on tensors with the samples along the first dimension. It cannot see samples that
    act on one another (batch normalization in training), nor which dimension is theirs; whoever
    uses it has to check the result.

    Args:
        params: the parameters to look for.

    Attributes:
        samples: the leading dimension of the first output of a parameter.
        uses: what was found.
        other: the name of a function that it does not know, by index of the parameter used there.
        dtypes: what the outputs of parameters are computed in (autocast: not the parameters').
    """

    def __init__(self, params: Sequence[Tensor]):
        super().__init__()
        self._index = {id(p): i for i, p in enumerate(params)}
        self.samples: int | None = None
        self.uses: list[Use] = []
        self.other: dict[int, str] = {}
        self.dtypes: set[torch.dtype] = set()

    def __torch_function__(
        self,
        func: Callable,
        types: Collection[type],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = [x for x in tree_leaves(result) if isinstance(x, Tensor) and x.requires_grad]
        made = [x for x in made if id(x) not in self._index]
        indices = (self.index(x) for x in tree_leaves((args, kwargs)))
        touched = {i for i in indices if i is not None}
        if not touched or not made:
            return result
        uses, wide = self._known(func, result, args, kwargs)
        if {use.param for use in uses} == touched:
            self.uses += uses
            return wide
        self.other.update(dict.fromkeys(touched, getattr(func, "__name__", str(func))))
        return result

    def _known(
        self, func: Callable, result: Any, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[list[Use], Any]:
        """Uses in a function with a rule, none in any other; and the result, wide if need be."""
        rule = _RULES.get(func)
        if rule is None or not isinstance(result, Tensor) or not result.is_floating_point():
            return [], result
        self.dtypes.add(result.dtype)
        before = self.samples
        n = self._count(result)
        if result.ndim > 2 and result.shape[0] == 1 < n:
            # One row for all samples (position embeddings): with a copy for each, their
            # gradients stay apart.
            result = result.expand(n, *result.shape[1:])
        try:
            uses = rule(self, result, *args, **kwargs)
        except (_NotBySample, RuntimeError, TypeError):  # inside vmap, or with out=
            uses = []
        if not uses:
            self.samples = before
        return uses, result

    def _count(self, result: Tensor) -> int:
        """The number of samples: the first output's, or a later one's if it has more."""
        rows = result.shape[0] if result.ndim else 1
        if self.samples is None:
            self.samples = rows
        elif self.samples == 1 < rows and result.ndim > 2:
            # What came before was one row for all samples, and its gradients are their sums.
            self.other.update((use.param, "a row for all samples") for use in self.uses)
            self.uses, self.samples = [], rows
        return self.samples

    def index(self, x: object) -> int | None:
        """Index of a parameter, None for anything else."""
        return self._index.get(id(x))

    def by_sample(self, x: Tensor) -> Tensor:
        """x as (n, T, features), samples first."""
        n = self.samples
        assert n is not None  # counted before any rule is asked
        if x.ndim > 2 and x.shape[0] == 1 < n:
            x = x.expand(n, *x.shape[1:])
        # Two dimensions may be (n * T, features), as the linear layers of GPT-2 have it.
        if x.ndim == 0 or x.shape[0] % n or (x.ndim > 2 and x.shape[0] != n):
            raise _NotBySample
        return x.detach().reshape(n, -1, x.shape[-1] if x.ndim > 1 else 1)

    def product(self, weight: Tensor, x: Tensor, y: Tensor, *, output_first: bool) -> list[Use]:
        """y = x W' (output first) or x W, for a matrix or a vector W."""
        param = self.index(weight)
        if param is None:
            return []
        inputs = self.by_sample(x)

        def rows(row: int, g: Tensor) -> Outer:
            g, x = g.reshape(*inputs.shape[:2], -1).to(weight.dtype), inputs.to(weight.dtype)
            return Outer(row, g, x) if output_first else Outer(row, x, g)

        count = inputs.shape[0] * inputs.shape[1] * weight.numel()
        return [Use(param, get_gradient_edge(y), rows, count)]

    def vector(self, bias: Tensor | None, y: Tensor, factor: Tensor | None = None) -> list[Use]:
        """y = ... + bias, or ... + bias * factor, over the last dimension."""
        param = self.index(bias)
        if bias is None or param is None:
            return []
        if bias.ndim != 1 or bias.shape[0] != y.shape[-1] or y.ndim < 2:
            raise _NotBySample
        shape = self.by_sample(y).shape

        def rows(row: int, g: Tensor) -> Plain:
            g = g.reshape(shape).to(bias.dtype)
            return Plain(row, (g if factor is None else g * factor).sum(1))

        return [Use(param, get_gradient_edge(y), rows)]


class _NotBySample(Exception):
    """This use does not keep the samples apart along the first dimension."""


# The rules: of a function's output y and its arguments, by their names in torch, the uses therein.


def _linear(
    tape: Tape, y: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> list[Use]:
    return tape.vector(bias, y) + tape.product(weight, input, y, output_first=True)


def _matmul(tape: Tape, y: Tensor, input: Tensor, other: Tensor) -> list[Use]:
    return [] if other.ndim > 2 else tape.product(other, input, y, output_first=False)


def _addmm(
    tape: Tape,
    y: Tensor,
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> list[Use]:
    return _matmul(tape, y, mat1, mat2) + tape.vector(input, y) if beta == alpha == 1 else []


def _embedding(
    tape: Tape,
    y: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> list[Use]:
    param = tape.index(weight)
    if param is None or max_norm is not None or scale_grad_by_freq or _is_range(input):
        return []
    ids = tape.by_sample(input[..., None])[..., 0]
    if padding_idx is not None:
        # autograd gives the padding row no gradient, so it must have none here, either.
        ids = ids.masked_fill(ids == padding_idx % weight.shape[0], -1)

    def rows(row: int, g: Tensor) -> Lookup:
        return Lookup(row, ids, g.reshape(*ids.shape, -1).to(weight.dtype))

    return [Use(param, get_gradient_edge(y), rows)]


def _is_range(ids: Tensor) -> bool:
    """Whether these are positions, one row for all samples, however many there are."""
    return ids.ndim == 1 and torch.equal(ids, torch.arange(len(ids), device=ids.device))


def _layer_norm(
    tape: Tape,
    y: Tensor,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> list[Use]:
    if len(normalized_shape) != 1:
        return []
    normalized = F.layer_norm(tape.by_sample(input), list(normalized_shape), eps=eps)
    return tape.vector(weight, y, normalized) + tape.vector(bias, y)


def _add(tape: Tape, y: Tensor, input: Tensor, other: Tensor, *, alpha: float = 1) -> list[Use]:
    return tape.vector(input, y) + tape.vector(other, y) if alpha == 1 else []


def _mul(tape: Tape, y: Tensor, input: Tensor, other: Tensor) -> list[Use]:
    vector, factor = (other, input) if tape.index(input) is None else (input, other)
    if not isinstance(factor, Tensor) or factor.shape != y.shape:
        return []
    return tape.vector(vector, y, tape.by_sample(factor))


_RULES: dict[Callable, Callable[..., list[Use]]] = {
    function: rule
    for rule, functions in {
        _linear: (F.linear,),
        _matmul: (
            torch.matmul,
            torch.mm,
            torch.mv,
            Tensor.matmul,
            Tensor.mm,
            Tensor.mv,
            Tensor.__matmul__,
        ),
        _addmm: (torch.addmm, Tensor.addmm),
        _embedding: (F.embedding,),
        _layer_norm: (F.layer_norm,),
        _add: (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__),
        _mul: (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__),
    }.items()
    for function in functions
}
