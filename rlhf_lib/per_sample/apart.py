"""Rows of any function of the parameters: every sample uses a copy of them of its own.

The gradient by copy i is the row of sample i, so that one backward pass makes all rows. A use of
the copies is a batch of products where one of the parameters is a single product, whatever stands
around it: recurrent cells, convolutions, or derivatives by the inputs (the residuals of a
physics-informed network), through which the parameters act twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten


class Apart(TorchFunctionMode):
    """While active, functions take for each of these parameters n copies, one for each sample.

    Samples are along the first dimension of whatever else a function takes, or there are none in it
    (a mask, a table of positions). What is computed from parameters alone has copies, too. It
    cannot see samples that act on one another nor which dimension is theirs: whoever uses it has
    to check the gradients.

    Args:
        params: the parameters. n: number of samples.

    Attributes:
        copies: leaves of shape (n, *shape), in the order of the parameters.
        multiplications: scalar multiplications with parameters so far, in one pass.
    """

    def __init__(self, params: Sequence[Tensor], n: int):
        super().__init__()
        self.n, self.multiplications = n, 0
        self.copies = [p.detach().expand(n, *p.shape).requires_grad_() for p in params]
        # Of a parameter's id, or of what was made of some; with the tensor, so that ids stay.
        self._copies = {id(p): (p, c) for p, c in zip(params, self.copies, strict=True)}

    def __torch_function__(
        self,
        func: Callable,
        types: Collection[type],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        leaves, form = tree_flatten((args, kwargs))
        if not any(id(x) in self._copies for x in leaves):
            return func(*args, **kwargs)
        if func in _RECURRENT:
            with self:
                return _RECURRENT[func](*args, **kwargs)
        plain = func(*args, **kwargs)
        if not any(isinstance(x, Tensor) and x.requires_grad for x in tree_leaves(plain)):
            return plain  # a shape, a type
        dims = [self._dim(x) for x in leaves]
        shared = any(
            d == 0 and id(x) not in self._copies for d, x in zip(dims, leaves, strict=True)
        )

        def of_one(*mine: Any) -> Any:
            its_args, its_kwargs = tree_unflatten(list(mine), form)
            return func(*its_args, **its_kwargs)

        with warnings.catch_warnings():  # a function without a rule goes through the copies
            warnings.filterwarnings("ignore", "There is a performance drop")
            made = torch.vmap(of_one, in_dims=tuple(dims), randomness="same")(
                *(self._apart(x) for x in leaves)
            )
        if shared:
            self._count(func, plain, leaves)
            return tree_map(lambda x: x.flatten(0, 1) if isinstance(x, Tensor) else x, made)
        for one, its in zip(tree_leaves(plain), tree_leaves(made), strict=True):
            if isinstance(one, Tensor):
                self._copies[id(one)] = one, its
        return plain

    def _count(self, func: Callable, y: Any, leaves: Sequence[Any]) -> None:
        outputs = _OUTPUTS.get(getattr(func, "__name__", ""))
        if outputs is None or not isinstance(y, Tensor):
            return
        weights = [x for x in leaves if id(x) in self._copies and x.ndim > 1]
        self.multiplications += sum(y.numel() * w.numel() // w.shape[outputs] for w in weights)

    def _dim(self, x: Any) -> int | None:
        """0 for copies and for samples, None for all else."""
        if not isinstance(x, Tensor):
            return None
        # Two dimensions may be (n * T, features).
        rows = x.shape[0] if x.ndim else 0
        samples = rows == self.n or (x.ndim == 2 and rows > 0 and rows % self.n == 0)
        return 0 if id(x) in self._copies or samples else None

    def _apart(self, x: Any) -> Any:
        """x as a function of one sample is to get it, (n, its shape)."""
        if not isinstance(x, Tensor) or self._dim(x) is None:
            return x
        if id(x) in self._copies:
            return self._copies[id(x)][1]
        return x.unflatten(0, (self.n, -1))


# Which dimension of its weights runs over the outputs of a function: where work is counted.
_OUTPUTS = dict.fromkeys(("linear", "bilinear", "conv1d", "conv2d", "conv3d"), 0)
_OUTPUTS |= dict.fromkeys(("matmul", "mm", "__matmul__", "addmm"), -1)


# Recurrent layers as their equations, because their kernels have no rule for copies.


def _lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _step(kind: str, inner: Tensor, state: tuple[Tensor, ...], weight, bias) -> tuple[Tensor, ...]:
    """The next state (h,), or (h, c), from what the input adds and the state before."""
    outer = F.linear(state[0], weight, bias)
    if kind == "lstm":
        return _lstm_cell(inner + outer, state[1])
    if kind == "gru":
        (r, z, n), (hr, hz, hn) = inner.chunk(3, -1), outer.chunk(3, -1)
        z, n = (z + hz).sigmoid(), (n + (r + hr).sigmoid() * hn).tanh()
        return (n + z * (state[0] - n),)
    return ((inner + outer).tanh() if kind == "tanh" else (inner + outer).relu(),)


def _layers(kind: str) -> Callable:
    def layers(
        x: Tensor,
        state: Tensor | Sequence[Tensor],
        weights: Sequence[Tensor],
        biased: bool,
        depth: int,
        dropout: float,
        training: bool,
        both_ways: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        first = (state,) if isinstance(state, Tensor) else tuple(state)
        ways, each = 1 + both_ways, 4 if biased else 2
        if len(weights) != each * depth * ways or x.ndim != 3:
            raise RuntimeError("projections, packed and single sequences have no rule")
        x = x if batch_first else x.transpose(0, 1)
        ends: list[tuple[Tensor, ...]] = []
        for layer in range(depth):
            found = []
            for way in range(ways):
                k = layer * ways + way
                wi, wh, *b = weights[each * k : each * (k + 1)]
                bi, bh = b or (None, None)
                now, out = tuple(s[k] for s in first), []
                inner = F.linear(x, wi, bi).unbind(1)
                for part in inner[::-1] if way else inner:
                    now = _step(kind, part, now, wh, bh)
                    out.append(now[0])
                found.append(torch.stack(out[::-1] if way else out, 1))
                ends.append(now)
            x = torch.cat(found, -1)
            if dropout and training and layer < depth - 1:
                x = F.dropout(x, dropout)
        x = x if batch_first else x.transpose(0, 1)
        return (x, *(torch.stack(parts) for parts in zip(*ends, strict=True)))

    return layers


def _cell(kind: str) -> Callable:
    def cell(x, state, wi, wh, bi=None, bh=None):
        now = (state,) if isinstance(state, Tensor) else tuple(state)
        now = _step(kind, F.linear(x, wi, bi), now, wh, bh)
        return now if kind == "lstm" else now[0]

    return cell


_RECURRENT: dict[Callable, Callable] = {
    torch.lstm: _layers("lstm"),
    torch.gru: _layers("gru"),
    torch.rnn_tanh: _layers("tanh"),
    torch.rnn_relu: _layers("relu"),
    torch.lstm_cell: _cell("lstm"),
    torch.gru_cell: _cell("gru"),
    torch.rnn_tanh_cell: _cell("tanh"),
    torch.rnn_relu_cell: _cell("relu"),
}
