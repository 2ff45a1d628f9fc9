"""Freeze parts of a model: what is not trained cannot overfit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from ..arguments import listed, one_of

PARTS: dict[str, Callable[[str], bool]] = {
    "embeddings": lambda name: (
        "embed" in name or any(f".{word}." in f".{name}" for word in ("shared", "wte", "wpe"))
    ),
    "encoder": lambda name: any(
        f".{word}." in f".{name}" for word in ("layer", "layers", "block", "h")
    ),
    "biases": lambda name: name.endswith("bias"),
    "normalizations": lambda name: "norm" in name.lower() or "ln_" in name,
    "weights": lambda name: not name.endswith("bias") and not is_head(name),
    "body": lambda name: not is_head(name),
}


def is_head(name: str) -> bool:
    """Whether a parameter belongs to what a task puts on top of the pre-trained model."""
    heads = (
        "classifier",
        "pre_classifier",
        "score",
        "qa_outputs",
        "lm_head",
        "cls.",
        "head.",
        "classification_head.",
    )
    return name.startswith(heads)


def freeze(module: nn.Module, parts: Iterable[str]) -> list[str]:
    """Train everything in `module` except these parts; returns the names of what is frozen.

    parts: of "embeddings", "encoder" (all layers, a decoder's too), "biases", "normalizations",
        "weights" (leaves the biases and the head: Ben Zaken, Goldberg and Ravfogel, 2022,
        "BitFit"), "body" (leaves the head alone). Nothing freezes nothing, so that a later call
        undoes an earlier one.

    Raises ValueError for an unknown part, one that the module has not, or if nothing is left.
    """
    parts = listed("parts", parts)
    for part in parts:
        one_of("parts", part, PARTS)
    names = [name for name, _ in module.named_parameters()]
    frozen = [name for name in names if any(PARTS[part](name) for part in parts)]
    for part in parts:
        if not any(PARTS[part](name) for name in names):
            raise ValueError(
                f"freeze: expected parts that the module has, got {part!r}: "
                f"{type(module).__name__} has no {part} among its {len(names)} parameters"
            )
    if len(frozen) == len(names):
        raise ValueError(
            f"freeze: expected parts that leave something to train, got {' and '.join(parts)}"
        )
    for name, p in module.named_parameters():
        p.requires_grad_(name not in frozen)
    return frozen
