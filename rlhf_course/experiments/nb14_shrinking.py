"""Notebook 14's model: a BERT fine-tuned in seconds, to be made smaller and measured."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlhf_lib import compress, text
from rlhf_lib.compress.distillation import Distillation

LENGTH = 22  # tokens; one review in thirteen is longer and loses its end
LOOKED_AT = 32  # reviews for curvature and inputs
WAYS = ("by size", "by curvature", "by surgeon", "heads", "neurons", "bits", "teacher")


class Shrinking:
    """The embedded BERT with its top two layers fine-tuned on a few reviews, and small versions.

    sentences, held_out: reviews that train and that judge. epochs: of AdamW. name, seed: as for
    `load_model`; the seed also draws the reviews.

    Attributes: model, in eval mode; validation, the encoded reviews that judge.
    """

    def __init__(
        self,
        sentences: int = 200,
        held_out: int = 160,
        *,
        epochs: int = 3,
        name: str = "minilm",
        seed: int = 0,
    ):
        data = text.load_dataset("course-reviews")
        self.data = data.train.subset(sentences, seed), data.validation.subset(held_out, seed)
        self.seed = seed
        self.model, self.tokenizer = text.load_model("classification", name, seed=seed)
        task = text.ClassificationTask(
            self.model, self.tokenizer, *self.data, top_layers=2, max_length=LENGTH
        )
        list(text.finetune(task, "adamw", steps=epochs, lr=3e-4, seed=seed))
        task.module.unfreeze()
        self.training, self.validation = (self._encode(part) for part in self.data)

    def _encode(self, part: text.TextDataset) -> dict[str, Tensor]:
        encoded = text.encode(self.tokenizer, part.texts, max_length=LENGTH)
        return {**encoded, "labels": torch.tensor(part.labels)}

    def smaller(
        self,
        way: str,
        *,
        fraction: float = 0.5,
        bits: int = 8,
        tables: bool = True,
        temperature: float = 2.0,
    ) -> Iterator[nn.Module]:
        """Yield a small version, or for "teacher" a student after each of three epochs.

        way: "by size", "by curvature" (OBD) and "by surgeon" (OBS) set that fraction of the weights
            of linear layers to zero; "heads" and "neurons" take that fraction out; "bits" keeps
            weights in so many bits, those of the embeddings' tables with `tables`; "teacher" has a
            student of two layers learn from the model at that temperature.
        """
        if way not in WAYS:
            raise ValueError(f"way: expected one of {', '.join(WAYS)}, got {way!r}")
        if way == "teacher":
            yield from self._students(temperature)
            return
        if way == "bits":
            yield compress.quantize(self.model, bits, dynamic=False, embeddings=tables)
            return
        small = copy.deepcopy(self.model)
        few = {key: value[:LOOKED_AT] for key, value in self.training.items()}
        compress.prune(
            small,
            fraction,
            structured=way if way in ("heads", "neurons") else None,
            by={"by size": "magnitude", "by surgeon": "obs"}.get(way, "obd"),
            loss_fn=lambda batch: _loss(small, batch),
            batches=[few],
        )
        yield compress.make_permanent(small)

    def _students(self, temperature: float) -> Iterator[nn.Module]:
        student = compress.student_of(self.model, 2)
        # All layers there are, on stored embeddings, which stay as they are.
        task = text.ClassificationTask(
            student, self.tokenizer, *self.data, top_layers=2, max_length=LENGTH
        )
        with torch.no_grad():
            batches = text.batches(self.training, 64)
            teacher = torch.cat([_loss(self.model, batch)[1] for batch in batches])
        few = {key: value[:8] for key, value in task.validation.items()}
        for record in text.finetune(
            Distillation(
                task.module, teacher, task.training, few, temperature=temperature, alpha=0.5
            ),
            "adamw",
            steps=3,
            lr=3e-4,
            seed=self.seed,
        ):
            if record.step:
                yield student

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, Any]:
        """Loss and accuracy on the reviews that judge, bytes of the file, share of zeros, and
        CPU milliseconds of 16 reviews, as measured in turn with the whole model: `ms`, `ms_whole`.
        """
        total = {"loss": 0.0, "correct": 0}
        for batch in text.batches(self.validation, 64):
            loss, logits = _loss(model, batch)
            total["loss"] += float(loss) * len(logits)
            total["correct"] += int((logits.argmax(1) == batch["labels"]).sum())
        n = len(self.validation["labels"])
        inputs = {k: v[:16] for k, v in self.validation.items() if k != "labels"}
        seen = compress.latency(
            {"this": lambda: model(**inputs), "whole": lambda: self.model(**inputs)},
            repeats=3,
            warmup=1,
        )
        with tempfile.TemporaryDirectory() as folder:
            size = compress.save(model, Path(folder) / "model.safetensors")
        return {
            "loss": total["loss"] / n,
            "accuracy": total["correct"] / n,
            "bytes": size,
            "zeros": compress.sparsity(model).share,
            "ms": 1000 * seen["this"].cpu,
            "ms_whole": 1000 * seen["whole"].cpu,
        }


def _loss(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    logits = model(**{key: value for key, value in batch.items() if key != "labels"}).logits
    return nn.functional.cross_entropy(logits, batch["labels"]), logits
