"""How micro-batches make up one loss: their counts, and a comparison that finds wrong ones.

The mean over all samples is sum_b n_b L_b / sum_b n_b if L_b is a mean over n_b terms. A sum, a
mean weighted by class and one that leaves out labels have other weights. Cutting a micro-batch in
two shows them: at the outputs of a part the slope of the whole's loss is that of the part's own
loss times the part's weight.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from ..interrupt import Interrupted

_Evaluated = tuple[Tensor, tuple[Tensor, ...]]  # loss, outputs
_SAY = "pass count=lambda batch: ..., which gives the number of terms in a batch's mean"
_OTHERS = (
    f"P{_SAY[1:]}: int((labels != -100).sum()) where labels are ignored, "
    "float(weight[labels].sum()) with class weights; count=rlhf_lib.objective.sample_count keeps "
    "the weights as they are"
)


def sample_count(batch: object) -> int:
    """The first dimension that the tensors of a batch agree on, itself or in dicts and sequences.

    Numbers are no samples, nor is a single row beside two tensors or more that agree (positions).

    Raises:
        TypeError: there are no tensors. ValueError: they do not agree (time first, graphs).
    """
    sizes = list(_sizes(batch))
    several = [n for n in sizes if n != 1]
    if not sizes:
        raise TypeError(
            "cannot count the samples of a batch: expected a tensor or a dict, list or tuple of "
            f"tensors, got {type(batch).__name__}; {_SAY}"
        )
    if len(set(sizes)) == 1 or (len(set(several)) == 1 and len(several) > 1):
        return several[0] if several else 1
    raise ValueError(
        "cannot count the samples of a batch: expected tensors with the samples along their first "
        f"dimension, got first dimensions {sizes} (time first, graphs, class weights?); {_SAY}"
    )


def first_size(batch: object) -> int:
    """The first dimension of the first tensor, for what needs no more than a guess."""
    return next(_sizes(batch), 1)


def _sizes(part: object) -> Iterator[int]:
    if isinstance(part, Tensor):
        if part.ndim:
            yield part.size(0)
    elif isinstance(part, PackedSequence):
        yield int(part.batch_sizes[0])
    elif isinstance(part, Mapping | list | tuple):
        for inner in part.values() if isinstance(part, Mapping) else part:
            yield from _sizes(inner)


def compare_with_parts(
    call: Callable[[object], _Evaluated],
    batch: object,
    *,
    summed: bool = False,
    count: Callable[[Any], float] = sample_count,
) -> None:
    """Raise ValueError where a batch's loss is no mean over its samples, or no sum if ``summed``.

    What cannot be compared is passed over: a batch that cannot be cut, a function that cannot take
    a part, outputs that hang on the other samples or on chance. Dropout is off and batch
    normalization at rest meanwhile.

    Args:
        call: gives (loss, outputs) of a batch, as TaskLoss has them.
        count: how many terms a batch's mean has, if not its samples.
    """
    try:
        n = sample_count(batch)
        cut = max(min(2, n // 2), n // 3)
        if not cut:
            return
        parts = [_cut(batch, n, slice(cut)), _cut(batch, n, slice(cut, n))]
        terms = [count(b) for b in (batch, *parts)]
        expected = (1.0, 1.0) if summed else (terms[1] / terms[0], terms[2] / terms[0])
        with torch.enable_grad(), _Still():
            whole, first, second = (call(b) for b in (batch, *parts))
            again = whole if whole[1] else call(batch)
            shares = _shares(whole, first, second) if whole[1] else None
    except Interrupted:
        raise
    except Exception:  # a closure need not take other batches than its own
        return
    close = max(map(_tolerance, (whole[0], *whole[1])))  # autocast: bfloat16, summed in float32
    if whole[1]:
        if shares is not None:
            _judge(shares, expected, close, cut, n)
        return
    L, *ends, same = (loss.item() for loss, _ in (whole, first, second, again))
    by_mean = sum(share * end for share, end in zip(expected, ends, strict=True))
    scale = max(map(abs, (L, *ends)))
    if L == same and abs(L - by_mean) > close * scale:  # not by chance
        is_sum = abs(L - sum(ends)) <= close * scale
        _judge((1.0, 1.0) if is_sum else (math.inf, math.inf), expected, close, cut, n)


def _tolerance(like: Tensor) -> float:
    return max(torch.finfo(like.dtype).eps ** 0.5, 1e-6)


def _judge(
    shares: tuple[float, ...], expected: tuple[float, float], close: float, cut: int, n: int
) -> None:
    if all(abs(a - b) <= close for a, b in zip(shares, expected, strict=True)):
        return
    if all(abs(share - 1) <= close for share in shares):
        raise ValueError(
            "expected the mean loss of a micro-batch, got a sum (reduction='sum'): pass "
            "count='sum', which adds the micro-batches' losses up, or return the mean"
        )
    found = " and ".join(f"{share:.4g}" for share in shares)
    found = f"{found} times" if math.isfinite(sum(shares)) else "no multiple of"
    cure = _OTHERS if expected[0] < 1 else "For means over the samples leave count='sum' out"
    wanted = " and ".join(f"{share:.4g}" for share in expected)
    raise ValueError(
        f"the micro-batches do not make up the whole: expected a loss of {n} samples that goes "
        f"with {wanted} times the losses of its first {cut} and its last {n - cut} samples, got "
        f"{found} these (class weights, ignore_index, a mean over tokens, or a loss that compares "
        f"samples?). {cure}"
    )


def _shares(whole: _Evaluated, *parts: _Evaluated) -> tuple[float, ...] | None:
    """What the parts' slopes have to be multiplied by to be the whole's; None if not comparable.

    Infinite where a slope is no multiple although the outputs are the same.
    """
    slopes = [
        torch.autograd.grad(loss, outputs, allow_unused=True, materialize_grads=True)
        for loss, outputs in (whole, *parts)
    ]
    outputs = zip(whole[1], parts[0][1], parts[1][1], strict=True)
    dims = [dim for dim in itertools.starmap(_cut_along, outputs) if dim is not None]
    if len(dims) < len(whole[1]):  # every sample with every other
        return (math.inf,) * len(parts)
    found = []
    for last, (_, outputs), own in zip((False, True), parts, slopes[1:], strict=True):

        def there(tensors: Sequence[Tensor], own=own, last=last) -> Tensor:
            """The part's place in the whole's outputs, or slopes."""
            return _flat(
                x.narrow(dim, x.shape[dim] - g.shape[dim] if last else 0, g.shape[dim])
                for x, g, dim in zip(tensors, own, dims, strict=True)
            )

        close, slope, own_slope = _tolerance(outputs[0]), there(slopes[0]), _flat(own)
        away = float((there(whole[1]) - _flat(outputs)).norm())
        # Of a saturated loss there is nothing but rounding to compare.
        least = min(1e3 * torch.finfo(outputs[0].dtype).eps, 1e-4)
        there_is_a_slope = float(own_slope.norm()) >= least  # and no NaN
        if not (away <= close * float(_flat(outputs).norm()) and there_is_a_slope):
            return None
        share = float(slope @ own_slope / (own_slope @ own_slope))
        rest = float((slope - share * own_slope).norm())
        found.append(share if rest <= close * float(slope.norm()) else math.inf)
    return tuple(found)


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])


def _cut_along(whole: Tensor, first: Tensor, second: Tensor) -> int | None:
    """The dimension along which the parts of an output make up the whole one; None: several."""
    changed = [d for d, n in enumerate(first.shape) if n != whole.shape[d]]
    if len(changed) > 1:
        return None
    (dim,) = changed
    if first.shape[dim] + second.shape[dim] != whole.shape[dim]:
        raise ValueError("expected outputs that the parts make up, got others")
    return dim


def _cut(part, n: int, where: slice):
    if isinstance(part, Tensor):
        return part[where] if part.ndim and part.size(0) == n else part
    if isinstance(part, PackedSequence):
        raise ValueError("expected a batch to cut, got a packed sequence")
    if isinstance(part, Mapping):
        made: Callable = type(part)  # what dicts take, and their like
        return made({key: _cut(inner, n, where) for key, inner in part.items()})
    if isinstance(part, list | tuple):
        if len(part) == n and not any(isinstance(inner, Tensor) for inner in part):
            return part[where]
        inner = [_cut(one, n, where) for one in part]
        return type(part)(*inner) if hasattr(part, "_fields") else type(part)(inner)
    return part


class _Still(TorchFunctionMode):
    """Dropout is off and batch normalization at rest, whatever mode the modules are in."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name.endswith("dropout") or name in ("dropout1d", "dropout2d", "dropout3d"):
            return args[0] if args else kwargs["input"]
        # Without running statistics there is no rest.
        own = func is F.batch_norm and (args[1:2] or (kwargs.get("running_mean"),))[0] is None
        if "training" in kwargs and not own:
            kwargs["training"] = False
        if "dropout_p" in kwargs:
            kwargs["dropout_p"] = 0.0
        return func(*args, **kwargs)
