"""What the caller's function returned, as a scalar loss and a tuple of outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Outputs = tuple[Tensor, ...]


def split(result: Any) -> tuple[Tensor, Outputs]:
    """The loss, shape (), and the outputs, of any of the forms that a closure may return.

    ``loss``; ``(loss, outputs)`` with one tensor, a tuple or list of them, None, or an object with
    ``logits``; or an object with ``loss`` and ``logits``, a dict or what a transformers model
    returns.

    Raises:
        TypeError: anything else. ValueError: the loss is no scalar.
    """
    fields = _fields(result)
    pair = isinstance(result, tuple | list) and len(result) == 2 and fields is None
    if fields is not None:
        loss, outputs = fields.get("loss"), fields
        if loss is None:
            raise TypeError(
                "expected a loss in what the closure returned, got "
                f"{type(result).__name__}({', '.join(fields)}) without one: give the model labels, "
                "or compute the loss and return (loss, outputs)"
            )
    else:
        loss, outputs = result if pair else (result, ())
    named = _fields(outputs)
    if named is not None:
        outputs = [x for name, x in named.items() if name == "logits" or name.endswith("_logits")]
    if isinstance(outputs, Tensor) or outputs is None:
        outputs = () if outputs is None else (outputs,)
    if (
        not isinstance(loss, Tensor)
        or not isinstance(outputs, tuple | list)
        or not all(isinstance(o, Tensor) for o in outputs)
    ):
        raise TypeError(
            "expected (loss, outputs) as tensors from the closure, an object with loss and logits, "
            f"or the loss alone with curvature='hessian', got {_described(result)}"
        )
    if loss.numel() != 1:
        raise ValueError(
            f"expected a scalar loss, got shape {tuple(loss.shape)}: take its mean over the batch"
        )
    return loss.reshape(()), tuple(outputs)


def _fields(x: Any) -> Mapping[str, Any] | None:
    """The fields that are set, of a mapping or of an object with logits; None for anything else."""
    if isinstance(x, Mapping):
        return {str(name): value for name, value in x.items() if value is not None}
    if isinstance(x, Tensor) or not (hasattr(x, "loss") or hasattr(x, "logits")):
        return None
    fields = x._asdict() if hasattr(x, "_asdict") else vars(x)
    return {name: value for name, value in fields.items() if value is not None}


def _described(result: Any) -> str:
    kind = type(result).__name__
    if isinstance(result, tuple | list):
        return f"{kind} of {', '.join(type(x).__name__ for x in result) or 'nothing'}"
    return kind
