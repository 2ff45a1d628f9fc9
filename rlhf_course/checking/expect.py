"""What most checks do: call the learner's function, and compare with a truth.

Each function here ends the check with a hint (it raises Wrong) at the first thing that is not as
it should be, and otherwise returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .cases import randn as randn
from .feedback import Wrong, attempted, require

SIMPLE_FACTORS = (1, 2, 3, 4, 1 / 2, 1 / 3, 1 / 4)


def call(function: Callable, *arguments: Any) -> Any:
    """What the learner's function returns for these arguments.

    Hints when it is no function, when it wrote into an argument (a tensor, a module, or a list or
    dict of them), or left a gradient in one by `backward()`.
    """
    require(callable(function), f"Expected a function, got {_describe(function)}.")
    before = [_state(argument) for argument in arguments]
    value = attempted(function(*arguments))
    for name, old, argument in zip(_names(function, arguments), before, arguments, strict=True):
        for (kept, grad), tensor in zip(old, _tensors(argument), strict=True):
            require(
                kept.shape == tensor.shape and torch.equal(kept, tensor),
                f"Your function changed {name} in place; compute a new tensor instead.",
            )
            require(
                grad or tensor.grad is None,
                f"backward() left a gradient in {name}; torch.autograd.grad leaves none.",
            )
    return value


def expect(
    value: Any,
    truth: Any,
    mistakes: Mapping[str, Any] | None = None,
    otherwise: str = "",
    *,
    what: str = "result",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    picture: Callable[[Tensor], Any] | None = None,
) -> None:
    """Ends the check with a hint unless `value` is `truth`, a tensor or a number.

    A list or a NumPy array of these numbers is as good as a tensor, and so is a whole number.
    `mistakes` maps a hint to what a learner gets who makes that mistake, of whatever shape (None:
    not computable here); they are tried in order. After them come the mistakes that every exercise
    shares: shape, dtype, NaN, transposed, wrong sign, a constant factor. `otherwise` is the hint
    for all else, after the size of the error. Entries agree within rtol times the largest one, or
    atol. `picture(value)`, such as `Curves(x, truth, value)`, is drawn with a hint about numbers.
    """
    truth = torch.as_tensor(truth)
    value = _tensor(value, truth)
    kind = f"a tensor of shape {tuple(truth.shape)}" if truth.ndim else "a number"
    require(isinstance(value, Tensor), f"Expected {kind} as the {what}, got {_describe(value)}.")
    value = value.detach()
    if truth.dtype == torch.bool:
        truth, value = truth.int(), value.int()

    def close(other: Any) -> bool:
        other = torch.as_tensor(other)
        scale = float(other.detach().abs().max()) if other.numel() else 0.0
        return value.shape == other.shape and bool(
            ((value - other).abs() <= max(rtol * scale, atol)).all()
        )

    # A single number is right in any precision.
    same_dtype = not truth.is_floating_point() or not truth.ndim or value.dtype == truth.dtype
    if close(truth) and same_dtype:
        return
    try:
        if not close(truth):
            for hint, wrong in (mistakes or {}).items():
                require(wrong is None or not close(wrong), hint)
        require(
            value.shape == truth.shape, f"Expected {kind} as the {what}, got {_describe(value)}."
        )
        require(
            same_dtype,
            f"The {what} came back as {value.dtype}; keep {truth.dtype}, the dtype of what came "
            "in.",
        )
        _shared_mistakes(value, truth, close, what)
        off = float((value - truth).abs().max())
        raise Wrong(f"The {what} is off by up to {off:.2g}. {otherwise}".rstrip())
    except Wrong as wrong:
        drawn = picture(value) if picture and value.shape == truth.shape else None
        raise Wrong(str(wrong), drawn) from None


def _shared_mistakes(value: Tensor, truth: Tensor, close: Callable, what: str) -> None:
    require(
        not value.is_floating_point() or bool(value.isfinite().all()),
        f"The {what} holds NaN or an infinity: look for a division by zero or a root of a "
        "negative number.",
    )
    require(
        truth.ndim != 2 or not close(truth.T),
        f"The {what} is transposed: entry (i, j) is where (j, i) belongs.",
    )
    norm = float(truth.square().sum())
    factor = float((value * truth).sum()) / norm if norm else 0.0
    # A single number is always some multiple of the truth; only simple ones tell anything.
    simple = truth.numel() > 1 or any(abs(abs(factor) - k) < 1e-6 for k in SIMPLE_FACTORS)
    if abs(factor) > 1e-9 and simple and close(factor * truth):
        require(abs(factor + 1) > 1e-4, f"The sign of the {what} is wrong.")
        raise Wrong(
            f"The {what} is {factor:.4g} times what it should be: look for a factor that is "
            "missing or counted twice."
        )


def expect_error(function: Callable, *arguments: Any, error: type = ValueError, hint: str) -> None:
    """Ends the check with the hint unless the learner's function raises this error."""
    try:
        attempted(function(*arguments))
    except error:
        return
    raise Wrong(hint)


def parts(value: Any, names: str) -> list[Any]:
    """What a function returns together, such as names="(loss, gradient)", one by one.

    A list, or one tensor or array with a row for each, is as good as a tuple. Ends the check with a
    hint if there are more or fewer, or another thing came.
    """
    wanted = names.strip("()").split(", ")
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        value = list(value) if value.ndim else [value]
    elif isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, tuple | list) or len(value) != len(wanted):
        kind = {2: "pair", 3: "triple"}.get(len(wanted), "tuple")
        got = f"{len(value)} things" if isinstance(value, tuple | list) else _describe(value)
        raise Wrong(f"Return the {kind} {names}, with commas between them; got {got}.")
    return list(attempted(value))


def _tensor(value: Any, truth: Tensor) -> Any:
    """A number, list or array as a tensor; whatever else as it is."""
    if isinstance(value, bool):
        return value
    own = isinstance(value, Tensor) or hasattr(value, "__array__")  # it has a dtype of its own
    try:
        if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
            made = torch.stack([torch.as_tensor(v) for v in value])
        elif own or isinstance(value, list | tuple | int | float):
            made = torch.as_tensor(value)
        else:
            return value
    except (TypeError, ValueError, RuntimeError):
        return value
    logical = torch.bool in (made.dtype, truth.dtype)
    whole = not (made.is_floating_point() or made.is_complex())
    if logical or (own and not whole):
        return made
    cut = not (whole or truth.is_floating_point()) and bool((made != made.round()).any())
    return made if cut else made.to(truth.dtype)  # 5.7 is not 5


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.ndim else "a single number"
    text = f"the {type(value).__name__} {value!r}"
    return text if len(text) < 60 else text[:57] + "…"


def _tensors(argument: Any) -> list[Tensor]:
    if isinstance(argument, Tensor):
        return [argument]
    if isinstance(argument, torch.nn.Module):
        return [*argument.parameters(), *argument.buffers()]
    if isinstance(argument, Mapping):
        argument = list(argument.values())
    return [t for a in argument for t in _tensors(a)] if isinstance(argument, list | tuple) else []


def _state(argument: Any) -> list[tuple[Tensor, bool]]:
    # The gradient of a tensor inside a graph is none of ours, and asking for it warns.
    return [(t.detach().clone(), not t.is_leaf or t.grad is not None) for t in _tensors(argument)]


def _names(function: Callable, arguments: tuple) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in range(len(arguments))]
