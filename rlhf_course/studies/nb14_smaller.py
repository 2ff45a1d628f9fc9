"""The fine-tuned MiniLM made smaller in many ways: accuracy, bytes on disk, and CPU time."""

from __future__ import annotations

import copy
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rlhf_lib import compress, text

from . import Study

SEEDS = (0, 1, 2)
EPOCHS, LR, LENGTH = 3, 5e-5, 48
SCORED, LOOKED_AT = 400, 128  # validation texts; training texts for curvature and inputs
FRACTIONS = (0.3, 0.5, 0.7)
# Two epochs, prune, and the third under masks or with what is left: the same budget as without.
AGAIN = (0.7, 0.9)
L1 = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
TEMPERATURES = (1, 2, 8)
BITS = ("8 dynamic", "8", "8 table", "4 table", "4 groups table", "3 groups table")
METHODS = (
    ("dense", 0),
    *((by, f) for by in ("magnitude", "magnitude layer", "obd") for f in FRACTIONS),
    ("obs", 0.5),
    ("obs", 0.7),
    *(("bits", b) for b in BITS),
    *(("teacher", t) for t in TEMPERATURES),
    ("labels alone", 2),
    ("neurons", 0.5),
    ("heads", 0.5),
    *((f"{by} again", f) for by in ("magnitude", "magnitude layer", "obd", "obs") for f in AGAIN),
    *(("l1", value) for value in L1),
)


def runs():
    yield {"method": "bytes", "value": 0, "seed": 0}
    yield {"method": "latency", "value": 0, "seed": 0}
    for seed in SEEDS:
        for method, value in METHODS:
            yield {"method": method, "value": value, "seed": seed}


class Silent(text.ClassificationTask):
    """Not scored after each epoch, which would take a fifth of the time."""

    def evaluate(self):
        self.measures = {}
        return {}


def task_of(model, tokenizer, data) -> Silent:
    return Silent(
        model,
        tokenizer,
        data.train,
        data.validation.subset(SCORED),
        max_length=LENGTH,
        frozen=("embeddings",),
        micro_batch=32,
    )


@lru_cache(maxsize=1)
def dense(seed: int):
    """(task, weights after all epochs but one, after all of them), trained once for many runs."""
    torch.manual_seed(seed)
    model = text.load_model(seed=seed)
    task = task_of(*model, text.load_dataset("course-reviews"))
    states = [
        copy.deepcopy(task.model.state_dict())
        for record in text.finetune(task, "adamw", steps=EPOCHS, lr=LR, seed=seed)
        if record.step >= EPOCHS - 1
    ]
    return task, *states


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Validation loss and accuracy, bytes on disk, share of zeros; or seconds of each kind."""
    method, value, seed = settings["method"], settings["value"], settings["seed"]
    if method == "latency":
        return latencies()
    if method == "bytes":
        return {name: bytes_of(model) for name, model in kinds().items()}
    task, earlier, last = dense(seed)
    kind, *how = method.split()
    early = "again" in how or kind in ("heads", "neurons")
    model = copy.deepcopy(task.model)
    model.load_state_dict(earlier if early else last)
    part = {key: tensor[:LOOKED_AT] for key, tensor in task.training.items()}

    def of(module):
        """A task with the same data for another model."""
        other = copy.copy(task)
        other.model = other.module = module
        other.start_here()
        return other

    def prune(**options):
        compress.prune(
            model, value, loss_fn=of(model).loss_fn, batches=list(text.batches(part, 32)), **options
        )

    if kind in ("magnitude", "obd", "obs"):
        prune(by=kind, per_layer="layer" in how)
    elif kind in ("heads", "neurons"):
        prune(by="obd", structured=kind)
    elif kind == "bits":
        model = quantized(model, value)
    elif kind == "l1":
        start, _ = text.load_model(seed=seed)
        model.load_state_dict(start.state_dict())
        for _ in text.finetune(
            of(model),
            "adamw",
            steps=EPOCHS,
            lr=LR,
            seed=seed,
            coupled=True,
            regularizer="l1",
            lambda_reg=value,
        ):
            pass
    elif kind in ("teacher", "labels"):
        student = compress.student_of(model, 2)  # in both cases with the teacher's own layers
        few = {key: tensor[:8] for key, tensor in task.validation.items()}
        for _ in compress.distill(
            model,
            student,
            (task.training, few),
            alpha=0.5 if kind == "teacher" else 0.0,
            temperature=value,
            steps=2 * EPOCHS,
            lr=2 * LR,
            seed=seed,
        ):
            pass
        model = student
    if early:
        for _ in text.finetune(of(model), "adamw", steps=1, lr=LR, seed=seed + 1000):
            pass
    compress.make_permanent(model)
    loss, accuracy = of(model).score(task.validation)
    equal = {}
    if kind == "l1":  # the model without a penalty, pruned afterwards to as many zeros
        share = compress.sparsity(model).share
        for by in ("magnitude", "obd"):
            other = copy.deepcopy(task.model)
            other.load_state_dict(last)
            compress.prune(
                other,
                share,
                by=by,
                per_layer=by == "magnitude",
                loss_fn=of(other).loss_fn,
                batches=list(text.batches(part, 32)),
            )
            equal[f"{by} after"] = round(of(other).score(task.validation)[1], 4)
    return equal | {
        "loss": float(f"{loss:.4g}"),
        "accuracy": round(accuracy, 4),
        "bytes": bytes_of(model),
        "zeros": round(compress.sparsity(model).share, 4),
    }


def quantized(model, how: str):
    return compress.quantize(
        model,
        int(how[0]),
        dynamic="dynamic" in how,
        group_size=32 if "groups" in how else None,
        embeddings="table" in how,
    )


def bytes_of(model) -> float:
    """Five digits: without VNNI a processor gets other integers, and so some bytes more or less."""
    with tempfile.TemporaryDirectory() as folder:
        return float(f"{compress.save(model, Path(folder) / 'model.safetensors'):.5g}")


def kinds() -> dict[str, torch.nn.Module]:
    """One of each kind, pre-trained only: their shapes decide bytes and time."""
    model, _ = text.load_model()
    made = {"dense": model}
    for name, options in (
        ("zeros 0.7", {"fraction": 0.7}),
        ("zeros 0.9", {"fraction": 0.9}),
        ("heads 0.5", {"fraction": 0.5, "structured": "heads", "per_layer": True}),
        ("neurons 0.5", {"fraction": 0.5, "structured": "neurons", "per_layer": True}),
    ):
        made[name] = copy.deepcopy(model)
        compress.prune(made[name], **options)
        compress.make_permanent(made[name])
    both = copy.deepcopy(made["heads 0.5"])
    compress.prune(both, 0.5, structured="neurons", per_layer=True)
    made["both 0.5"] = both
    made["2 layers"] = compress.student_of(model, 2)
    return made | {f"bits {how}": quantized(model, how) for how in BITS}


def fused(model: torch.nn.Module) -> torch.nn.Module:
    """Dynamic int8 by torch.ao, which is deprecated but has fused kernels for the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)


def latencies() -> dict[str, Any]:
    """CPU seconds of 16 sentences of 32 tokens, and of one, all kinds in turn."""
    _, tokenizer = text.load_model()
    texts = text.load_dataset("course-reviews", split="validation").texts
    longest = sorted(texts, key=len)[-16:]
    encoded = text.encode(tokenizer, longest, max_length=32)
    made = kinds()
    made["bits 8 torch.ao"] = fused(made["dense"])
    found = {}
    for size, repeats in ((16, 11), (1, 21)):
        inputs = {key: tensor[:size] for key, tensor in encoded.items()}
        measured = compress.latency(
            {name: lambda m=m, i=inputs: m(**i) for name, m in made.items()}, repeats=repeats
        )
        for name, latency in measured.items():
            low, middle, high = (1000 * s for s in (latency.low, latency.cpu, latency.high))
            found.setdefault(name, {})[str(size)] = [round(s, 2) for s in (low, middle, high)]
    return found


STUDY = Study(
    about="MiniLM fine-tuned on 400 reviews, then pruned, quantized or distilled.",
    runs=runs,
    run=run,
    small={"method": "bytes", "value": 0, "seed": 0},
)
