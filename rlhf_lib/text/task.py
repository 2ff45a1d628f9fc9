"""What every task is: a module, its data as tensors, its loss, and how it is scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..arguments import whole
from .architectures import check_model
from .cached import batches
from .label_names import name_outputs
from .scoring import Metrics
from .turns import begin, own, turn_of

if TYPE_CHECKING:
    from ..linearized import LinearModel

IGNORED = -100  # the label of a place that no loss looks at, as torch and transformers have it

# What a batch holds beside the module's inputs.
BESIDE = (
    *("labels", "text", "share", "words", "sentence"),
    *("spans", "padding", "question", "nothing"),
)

# Those by which rows belong together: windows of a text, a sentence, a question.
GROUPS = ("text", "sentence", "question")


class Task:
    """What `finetune` trains: a module with training and validation data.

    model: the whole model. module: what is trained of it, called with a batch's inputs; the model
        itself, or a part like `CachedTop`.
    training, validation: dicts of tensors with one length, `labels` among them.
    micro_batch: most samples in one graph; bounds the memory.

    Attributes: model, module, training, validation, micro_batch, device, samples (of the training
    set), measures (what the last `evaluate` found beside losses and accuracies). A kind of task
    defines `loss_fn` and `correct`, `predict` for new texts, `count` where its loss is no mean over
    samples, `assess` where it has more measures, and `cross_entropy`: whether its loss is the
    cross-entropy over the last dimension of the module's outputs with `labels`, as `linearize`
    needs it; `model_task`, which task of `load_model` it needs; and `linear_head`: whether `probe`
    can fit the head by `head_loss`.
    """

    cross_entropy = False
    linear_head = False
    model_task: ClassVar[str | None] = None
    reports: tuple[str, ...] = ("loss", "accuracy")

    def __init__(
        self,
        model: nn.Module,
        module: nn.Module,
        training: dict[str, Tensor],
        validation: dict[str, Tensor],
        *,
        micro_batch: int = 64,
    ):
        if self.model_task is not None:
            check_model(model, self.model_task)
        self.model, self.module = model, module
        self.micro_batch = whole("micro_batch", micro_batch, 1)
        self.training, self.validation = training, validation
        self.device = next(model.parameters()).device
        self.samples = len(training["labels"])
        self.measures: dict[str, float] = {}
        self.metrics: Metrics = {}
        self.trains: list[tuple[nn.Parameter, bool]] = []  # while another task has the model
        self.changed: list[tuple[nn.Parameter, bool, bool]] = []
        begin(self)
        self.module.eval()
        self.start_here()

    def own(self) -> None:
        """Make the model this task's, where another one has used it since.

        Then what is trained, and the names of the classes, are again as this task has them.
        """
        names: tuple[str, ...] = getattr(self, "label_names", ())
        if own(self) and names:
            model: Any = self.model
            name_outputs(model, names, type(self).__name__)

    def start_here(self) -> None:
        """Take the module's present parameters for those that `reset` goes back to."""
        # Of all, since what is frozen may be trained later (see `freeze`).
        self._loaded = {n: p.detach().clone() for n, p in self.module.named_parameters()}
        self._start = self._loaded

    def begin_here(self) -> None:
        """Take the module's present parameters for those that `distance` counts from.

        `reset` goes back as before, and then `distance` counts from there again.
        """
        self._start = {
            name: p.detach().clone() if (p != self._loaded[name]).any() else self._loaded[name]
            for name, p in self.module.named_parameters()
        }

    def loss_fn(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(mean loss over the batch, the outputs that it is a function of)."""
        raise NotImplementedError

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What is trained on, where it is not `loss_fn`, by which sets are judged."""
        return self.loss_fn(batch)

    def head_loss(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """`training_loss` as a function of rows of outputs (n, C), where `linear_head`: convex."""
        return nn.functional.cross_entropy(outputs, batch["labels"])

    def row_weights(self, batch: dict[str, Tensor]) -> Tensor | None:
        """How much each row counts in `training_loss`, (n,), if not all alike."""
        return None

    def further_metrics(self) -> Metrics:
        """Metrics by name that `assess` can report beside its own `reports`; see `set_metric`."""
        return {}

    def correct(self, outputs: Tensor, batch: dict[str, Tensor]) -> int:
        """How many of the batch's `count` terms the outputs answer correctly."""
        raise NotImplementedError

    def count(self, batch: dict[str, Tensor]) -> float:
        """How many terms the mean loss of a batch has: its weight among other batches.

        Here its samples. A Record's cost counts the same terms.
        """
        return len(batch["labels"])

    @property
    def groups(self) -> Tensor | None:
        """Which training rows belong together (n,), as windows of one text; None: none do."""
        return next((self.training[key] for key in GROUPS if key in self.training), None)

    def linearize(self, **options: Any) -> LinearModel:
        """The module linearized at its present parameters, on this task's data and loss.

        options: groups, include_all, max_bytes and so on, see :func:`~rlhf_lib.linearize`.
        """
        from .linear import linearize_task

        return linearize_task(self, **options)

    def save(self, folder: str | Path) -> Path:
        """Write model, tokenizer, names of the classes and settings; `load_task` reads them again.

        The folder is written beside and takes its place at the end, so that an earlier one is
        replaced as a whole, or on an error not at all. transformers reads it, too: a mean-pooled
        classifier once `rlhf_lib.text` has loaded one in the process; before, it is refused.

        Raises FileExistsError for a folder that holds other files than a model's, ValueError for a
        model that was pruned or quantized, which `compress.save` keeps, and TypeError for one that
        is not of transformers.
        """
        from .saving import save_task

        return save_task(self, folder)

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """(name, parameter) of all that is trained."""
        self.own()
        return [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]

    @torch.no_grad()
    def reset(self) -> None:
        """Put all parameters of the module back to where they were when the task was made."""
        self.own()
        for name, p in self.module.named_parameters():
            p.copy_(self._loaded[name])
        self._start = self._loaded

    @torch.no_grad()
    def distance(self) -> float:
        """2-norm of how far the module's parameters are from where the last run began."""
        moved = (p - self._start[name] for name, p in self.module.named_parameters())
        return sum(float(d.pow(2).sum()) for d in moved) ** 0.5

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Without dropout and gradients, and while no step is under way in another thread;
        afterwards each module is in the mode it was in."""
        with turn_of(self.model).lock:
            self.own()
            modes = [(m, m.training) for m in (*self.model.modules(), *self.module.modules())]
            self.module.eval()
            self.model.eval()
            try:
                with torch.no_grad():
                    yield
            finally:
                for module, training in modes:
                    module.training = training

    def outputs(self, data: dict[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], float, Tensor]]:
        """(batch, mean loss, outputs) batch by batch, without dropout; none with no term to it."""
        for batch in batches(data, 2 * self.micro_batch):
            if self.count(batch):  # else the mean is NaN
                with self.evaluating():
                    loss, outputs = self.loss_fn(batch)
                yield batch, float(loss), outputs

    def _predicted(
        self,
        items: Sequence[Any],
        batch_size: int | None,
        predict: Callable[[Sequence[Any]], list[Any]],
    ) -> list[Any]:
        """`predict` of so many items at a time, without dropout."""
        size = 2 * self.micro_batch if batch_size is None else batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(
                f"batch_size: expected an integer of at least 1 or None, got {batch_size!r}"
            )
        with self.evaluating():
            return [
                found
                for start in range(0, len(items), size)
                for found in predict(items[start : start + size])
            ]

    def assess(self, data: dict[str, Tensor]) -> dict[str, float]:
        """`loss`, the mean over all terms, and `accuracy`, the share answered correctly."""
        total, loss, correct = 0, 0.0, 0
        for batch, mean, outputs in self.outputs(data):
            n = self.count(batch)
            total, loss = total + n, loss + n * mean
            correct += self.correct(outputs, batch)
        return {"loss": loss / total, "accuracy": correct / total}

    def score(self, data: dict[str, Tensor]) -> tuple[float, float]:
        """(mean loss, accuracy) on a data set, without dropout; NaN where there is no accuracy."""
        found = self.assess(data)
        return found["loss"], found.get("accuracy", math.nan)

    def evaluate(self) -> dict[str, float]:
        """Losses and accuracies on both sets, by the names that a Record has for them.

        What else `assess` finds goes to `measures`, as train_f1 and val_f1; `finetune` puts it
        into `record.extra`.
        """
        found = {
            f"{part}_{key}": value
            for part, data in (("train", self.training), ("val", self.validation))
            for key, value in self.assess(data).items()
        }
        fields = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        self.measures = {key: value for key, value in found.items() if key not in fields}
        return {key: found[key] for key in fields if key in found}
