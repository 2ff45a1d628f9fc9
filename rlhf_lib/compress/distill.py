"""Distillation: a small model learns from a large one's answers."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import real, whole
from ..record import Record
from .files import set_layers
from .masks import Model, check_model, refuse_masks


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
) -> Tensor:
    """alpha T^2 KL(softmax(teacher / T) || softmax(student / T)) + (1 - alpha) cross-entropy.

    Hinton, Vinyals and Dean (2015, section 2): T^2 keeps the size of the soft part's gradient. For
    T to infinity it becomes |z - v|^2 / (2 C), z and v the two models' logits less their means.

    Args:
        student, teacher: logits, shape (n, C); a teacher's -inf is a class that is left out, about
            which the student is not asked. labels: classes, shape (n,); None needs alpha = 1.
        temperature: T > 0. alpha: 0 listens to the labels alone, 1 to the teacher alone.

    Returns a scalar, the mean over the samples.
    """
    if not isinstance(student, Tensor) or not isinstance(teacher, Tensor):
        raise TypeError(
            "expected logits of student and teacher as tensors, got "
            f"{type(student).__name__} and {type(teacher).__name__}"
        )
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(
            "expected logits of student and teacher of one shape (n, C), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if not real("temperature", temperature) > 0 or not 0 <= real("alpha", alpha) <= 1:
        raise ValueError(
            f"expected temperature > 0 and 0 <= alpha <= 1, got {temperature!r} and {alpha!r}"
        )
    if labels is None and alpha < 1:
        raise ValueError(f"expected labels with alpha={alpha}, got none: 1 - alpha is their weight")
    fits = isinstance(labels, Tensor) and labels.shape == student.shape[:1]
    if labels is not None and not (fits and labels.dtype == torch.int64):
        got = type(labels).__name__
        if isinstance(labels, Tensor):
            got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"expected labels as classes of shape ({len(student)},), got {got}")
    loss = student.new_zeros(())
    if alpha > 0:
        log_p = (student / temperature).log_softmax(1)
        log_q = (teacher / temperature).log_softmax(1)
        out = log_q == -torch.inf  # 0 log 0 = 0
        apart = log_q.masked_fill(out, 0.0) - log_p.masked_fill(out, 0.0)
        loss = loss + alpha * temperature**2 * (log_q.exp() * apart).sum() / len(student)
    if alpha < 1 and labels is not None:
        loss = loss + (1 - alpha) * nn.functional.cross_entropy(student, labels)
    return loss


def student_of(model: Model, layers: int = 2, *, which: Sequence[int] | None = None) -> Model:
    """A copy of a transformer with some of its layers; embeddings, head and the rest as they are.

    layers: how many. which: their numbers in the model; default evenly spaced from the first to
        the last, which for 12 to 6 gives DistilBERT's 0, 2, 4, 7, 9, 11 (Sanh et al., 2019).

    Raises ValueError for numbers that the model does not have, TypeError for a model without one
    list of layers.
    """
    refuse_masks(model)
    layers = whole("layers", layers, 1)
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    if len(lists) != 1:
        raise TypeError(
            f"expected a model with one list of layers, got {type(model).__name__} with "
            f"{len(lists)}: build the student yourself"
        )
    name, old = lists[0]
    if which is None:
        if layers > len(old):
            raise ValueError(f"layers: expected 1 to {len(old)}, got {layers!r}")
        which = [round(i) for i in torch.linspace(0, len(old) - 1, layers).tolist()]
    if isinstance(which, str | dict) or not isinstance(which, Iterable):
        raise TypeError(f"which: expected a list of the layers' numbers, got {which!r}")
    which = [whole("which", i, 0) for i in which]
    if not which or max(which) >= len(old) or len(set(which)) < len(which):
        raise ValueError(f"which: expected different numbers below {len(old)}, got {which}")
    student = copy.deepcopy(model)
    new = student.get_submodule(name)
    assert isinstance(new, nn.ModuleList)  # as in the model
    set_layers(student, name, nn.ModuleList(new[i] for i in which))
    return student


def distill(
    teacher: nn.Module | Tensor,
    student: nn.Module,
    data: Any,
    *,
    temperature: float = 2.0,
    alpha: float = 0.5,
    method: str = "adamw",
    **options: Any,
) -> Iterator[Record]:
    """Train a student on a teacher's logits, and yield a Record for each epoch.

    teacher: called once on all training inputs, in eval mode; or its logits (n, C) themselves.
    student: trained in place, all its parameters that require a gradient; :func:`student_of` makes
        one.
    data: what both read: a task such as ``ClassificationTask(teacher, ...)``, or a pair of dicts
        (training, validation) of the models' inputs with ``labels``, as ``encode`` makes them.
    temperature, alpha: of :func:`distillation_loss`.
    method, options: of :func:`rlhf_lib.text.finetune`: steps, lr, batch_size, seed, ...

    A Record's losses and accuracies are the student's on the labels, by cross-entropy;
    ``record.loss`` is the loss that is minimized.
    """
    # Imported here, since it brings transformers along.
    from ..text.finetune import finetune
    from .distillation import Distillation

    if not isinstance(teacher, nn.Module | Tensor):
        got = type(teacher).__name__
        raise TypeError(f"expected teacher as a model or its logits (n, C), got {got}")
    check_model(student)
    given = (data.training, data.validation) if hasattr(data, "training") else data
    pair = isinstance(given, tuple | list) and len(given) == 2
    if not pair or not all(isinstance(part, Mapping) and "labels" in part for part in given):
        raise TypeError(
            "expected data as a task or as (training, validation), dicts of inputs with labels as "
            f"encode makes them, got {type(given).__name__}"
        )
    training, validation = given
    task = Distillation(
        student, teacher, training, validation, temperature=temperature, alpha=alpha
    )
    yield from finetune(task, method, **options)
