"""RLHFTrainer: transformers' Trainer with RLHFOptimizer's steps.

Imported by name, `from rlhf_lib.text.trainer import RLHFTrainer`, because Trainer needs accelerate
(the extra "trainer") and takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import fields
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from ..arguments import whole
from ..objective.counts import compare_with_parts, sample_count
from ..objective.draws import Draws, default_generators
from ..objective.reach import reach
from ..objective.returned import split
from ..optimizer import RLHFOptimizer
from ..record import Record
from .progress import progress

Batch = dict[str, Any]
_COMPARED = 4  # micro-batches of the first step
LOGGED = ("penalty", "step_length", "damping", "rho", "products", "cost")

# Arguments that say how another optimizer steps, or what has no second derivative here.
_LENGTH = "lr=..., the step length, 1 being the full step"
_PENALTY = "lambda_reg=... and regularizer=..., which put the penalty into the objective"
_BOUND = "damping=... or radius=..., which bound a step"
_OWN = "the settings of RLHFOptimizer"
_KEYWORDS = {
    "learning_rate": _LENGTH,
    "weight_decay": _PENALTY,
    "max_grad_norm": _BOUND,
    **dict.fromkeys(
        ("optim", "optim_args", "optim_target_modules", "adam_beta1", "adam_beta2", "adam_epsilon"),
        _OWN,
    ),
}
_DOUBLE = "float32, or bf16=True: scaled float16 losses have curvature that overflows"
_NOT_HERE = {
    "fp16": _DOUBLE,
    "torch_compile": "no compilation, whose graphs cannot be differentiated twice",
    "use_liger_kernel": "the model's own kernels: fused ones have no second derivatives",
    "deepspeed": "one process",
    "fsdp": "one process",
}


class RLHFTrainer(Trainer):
    """Trainer whose steps are RLHFOptimizer's: data, evaluation, checkpoints, logs, callbacks stay.

        trainer = RLHFTrainer(model, args, train_dataset=..., eval_dataset=..., lambda_reg=0.1)
        trainer.train()

    A step's ``gradient_accumulation_steps`` batches are the micro-batches of its gradient, its
    products and its line search, weighted by what their mean losses count: labels other than -100,
    as Trainer counts them, else samples. Whether that is so is found out in the first step.

    Args:
        args: TrainingArguments. Those of other optimizers (learning_rate, weight_decay, optim, ...)
            are refused unless they have their defaults; gradients are never clipped. The schedule
            of ``lr_scheduler_type`` shortens the steps: "constant" takes them full, and the default
            "linear" ever shorter ones.
        curvature_batches: how many of a step's micro-batches the products see; None for all.
        settings: Trainer's own, and those of :class:`~rlhf_lib.RLHFOptimizer` (``lambda_reg``,
            ``regularizer``, ``damping``, ``max_iter``, ...); ``params`` may be groups, by default
            all that is trained. ``count`` is taken as it is.

    Attributes:
        record: the Record of the last step, None before the first. Its penalty, step length,
            damping, rho, products and cost stand in the logs, as grad_norm and lambda_reg do;
            ``loss`` is the mean of the losses before the steps since the last log.

    A checkpoint holds all that a run goes on from, bit for bit. The step is taken before the
    callback ``on_pre_optimizer_step`` is told, and ``p.grad`` stays None.

    Raises:
        ValueError: arguments that would be without effect or wrong, at construction: of other
            optimizers; fp16, compilation, Liger kernels; several processes or GPUs.
        TypeError: a setting that neither Trainer nor RLHFOptimizer has.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        *,
        curvature_batches: int | None = None,
        **settings: Any,
    ):
        if args is not None:
            if not isinstance(args, TrainingArguments):
                raise TypeError(f"args: expected TrainingArguments, got {type(args).__name__}")
            _check(args)
        own = {name: settings.pop(name) for name in _TRAINERS & settings.keys()}
        for name in ("optimizers", "optimizer_cls_and_kwargs"):
            if own.get(name) not in (None, (None, None)):
                raise ValueError(f"expected no {name}, got some: RLHFTrainer takes {_OWN} itself")
        if curvature_batches is not None:
            whole("curvature_batches", curvature_batches, 1)
        self._settings, self._part = settings, curvature_batches
        self._window: list[Batch] = []
        self._compared = self._learned = False
        super().__init__(model, args, **own)
        self.create_optimizer()

    @property
    def record(self) -> Record | None:
        return self._rlhf.record

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """RLHFOptimizer over all that is trained; again at each train(), where it stays."""
        _check(self.args)
        if self.accelerator.scaler is not None:
            raise ValueError(f"expected {_DOUBLE}; got fp16 by accelerate's own settings")
        self._window.clear()  # of a run that was interrupted within a step
        if self.optimizer is None:
            trained: Any = self.model if model is None else model
            named = [(name, p) for name, p in trained.named_parameters() if p.requires_grad]
            settings: dict[str, Any] = {"params": named, "count": self._count}
            self._rlhf = _Stepped(**settings | self._settings)
            self.optimizer = self._rlhf
        return self.optimizer

    def training_step(
        self, model: nn.Module, inputs: Batch, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Keep a micro-batch; with the last one of a step take it. The loss before it, or 0."""
        # accelerate's mixed precision casts copies of the outputs, which are not those of the loss.
        model = self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        model.train()
        self._window.append(self._prepare_inputs(inputs))
        loss = 0.0
        if self.accelerator.sync_gradients:
            window, self._window = self._window, []
            # The model first, where what it draws and moves is looked for.
            closure = partial(self._closure, model)
            self._learned = self._learned or any(self._learn(model, batch) for batch in window)
            if len(window) > 1 and not self._compared and "count" not in self._settings:
                for batch in window[:_COMPARED]:
                    self._compare(closure, batch)
                self._compared = True
            few = None if self._part is None else slice(self._part)
            with nullcontext() if self.args.disable_tqdm else progress():
                loss = self._rlhf.step(closure, batches=window, curvature_batches=few)
        return torch.tensor(loss, device=self.args.device)

    def compute_loss_context_manager(self) -> ExitStack:
        """Trainer's, with accelerate's mixed precision."""
        stack = super().compute_loss_context_manager()
        stack.enter_context(self.accelerator.autocast())
        return stack

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As Trainer's; training's logs get the last step's Record."""
        record = self.record
        if record is not None and "loss" in logs:
            logs = logs | {name: getattr(record, name) for name in ("grad_norm", *LOGGED)}
            logs["lambda_reg"] = self._rlhf.param_groups[0]["lambda_reg"]
        super().log(logs, start_time)

    def _closure(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Any]:
        """(mean loss of a micro-batch, outputs)."""
        # Without a number of items it is the mean that the model itself knows.
        items = None if self.compute_loss_func is None else self._items(batch)
        with self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(
                model, dict(batch), return_outputs=True, num_items_in_batch=items
            )
        if not isinstance(outputs, Mapping) and isinstance(outputs, tuple | list):
            outputs = [part for part in outputs if part is not loss]
        return loss, outputs

    def _items(self, batch: Batch) -> Tensor | int | None:
        """What Trainer divides a sum of losses by; None where it leaves the mean to the model."""
        return self.get_batch_samples(iter([batch]), 1, self.args.device)[1]

    def _count(self, batch: Batch) -> float:
        items = self._items(batch)
        return sample_count(batch) if items is None else float(items)

    def _learn(self, model: nn.Module, batch: Batch) -> bool:
        """Does the loss leave out each row's first label? A sum over a mean of losses tells.

        Trainer goes by the name of the model's class, and counts GPT-2's labels wrong, in an
        evaluation, too. False where this batch cannot tell.
        """
        labels = batch.get("labels")
        if not (self.model_accepts_loss_kwargs and isinstance(labels, Tensor) and labels.ndim > 1):
            return True
        counts = [int(part.ne(-100).sum()) for part in (labels, labels[..., 1:])]
        if counts[0] == counts[1]:
            return False
        draws, found = self._draws(partial(self._closure, model)), []
        for items in (None, 1):
            with torch.no_grad(), draws:
                loss: Any = self.compute_loss(model, dict(batch), num_items_in_batch=items)
            found.append(loss.item())
        draws.undo()
        terms = round(found[1] / found[0], 2) if found[0] else 0.0
        if terms in counts:
            self._loss_shifts_labels = terms == counts[1]
        return True

    def _draws(self, closure: Callable) -> Draws:
        modules, generators = reach(closure)
        return Draws([*default_generators([self.args.device]), *generators], modules)

    def _compare(self, closure: Callable, batch: Batch) -> None:
        """Find out whether the loss is a mean over what is counted; draws and moves nothing."""
        draws = self._draws(closure)
        with draws:
            compare_with_parts(lambda b: split(closure(b)), batch, count=self._count)
        draws.undo()


class _Stepped(RLHFOptimizer):
    """Its steps are taken with a closure; Trainer's own call, without one, has nothing left."""

    def step(self, closure: Callable | None = None, **batches: Any) -> float:
        return 0.0 if closure is None else super().step(closure, **batches)


_TRAINERS = signature(Trainer.__init__).parameters.keys() - {"self", "model", "args"}
_DEFAULTS = {field.name: field.default for field in fields(TrainingArguments)}


def _check(args: TrainingArguments) -> None:
    """Refuse what would have no effect, or a wrong one."""
    for name, instead in _KEYWORDS.items():
        default, value = _DEFAULTS.get(name), getattr(args, name, None)
        if value != default and not (name == "max_grad_norm" and not value):
            raise ValueError(
                f"args.{name}: expected its default {default!r}, because RLHFOptimizer has no such "
                f"setting, got {value!r}. Give RLHFTrainer {instead}"
            )
    for name, instead in _NOT_HERE.items():
        if getattr(args, name, None):
            raise ValueError(f"args.{name}: expected {instead}; got {getattr(args, name)!r}")
    if args.world_size > 1 or args.n_gpu > 1:
        raise ValueError(
            f"expected one process with at most one GPU, got {args.world_size} processes with "
            f"{args.n_gpu} GPUs each: set CUDA_VISIBLE_DEVICES=0, or share the loss by "
            "RLHFOptimizer(process_group=...) in a loop of your own"
        )
