"""Does the method run on every kind of transformer? Tiny random ones of six families, and a limit.

What is tested is the method, not language: nothing can be learnt about language from such models.
"""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from rlhf_lib import text
from rlhf_lib.curvature import HessianOperator
from rlhf_lib.objective import assign, flatten
from rlhf_lib.optimizer import RLHFOptimizer

from . import Study

FAMILIES = ("bert", "distilbert", "roberta", "gpt2", "t5", "modernbert")
FUSED = "bert with fused attention"  # and nothing else
SEEDS = (0, 1, 2, 3, 4)
TEXTS, TOKENS, STEPS = 12, 24, 8


def runs():
    for family, seed in itertools.product((*FAMILIES, FUSED), SEEDS):
        yield {"family": family, "seed": seed}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """Error of a Hessian product against differences; training loss before and after RLHF steps."""
    seed, fused = settings["seed"], settings["family"] == FUSED
    family = "bert" if fused else settings["family"]
    model, tokenizer = text.load_model(
        "classification", f"tiny-random-{family}", dtype=torch.float64, seed=seed
    )
    if fused:
        model.set_attn_implementation("sdpa")
    data = text.load_dataset("course-reviews", split="train").subset(TEXTS, seed=seed)
    inputs = text.encode(tokenizer, data.texts, max_length=TOKENS)
    labels, params = torch.tensor(data.labels), list(model.parameters())

    def loss_fn():
        # The library would take another kernel by itself: this model insists on its own.
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION) if fused else nullcontext():
            logits = model(**inputs).logits
        return torch.nn.functional.cross_entropy(logits, labels), logits

    result: dict[str, Any] = {"parameters": sum(p.numel() for p in params)}
    try:
        result["product_error"] = float(f"{_error(loss_fn, params, seed):.1e}")
        optimizer = RLHFOptimizer(params, regularizer="l2sp", lambda_reg=1e-3, max_iter=10)
        losses = [optimizer.step(loss_fn) for _ in range(STEPS)]
        losses.append(loss_fn()[0].item())
    except RuntimeError as error:
        return result | {"error": str(error).split(":")[0]}
    return result | {"train_loss": [float(f"{loss:.5g}") for loss in losses]}


def _error(loss_fn, params, seed: int) -> float:
    """Largest entry of the difference from central differences, over the largest of the product."""
    start = flatten(p.detach() for p in params)
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(len(start), dtype=start.dtype, generator=generator)
    v /= v.norm()
    product = HessianOperator(loss_fn, params) @ v

    def gradient(step: float) -> torch.Tensor:
        assign(params, start + step * v)
        return flatten(torch.autograd.grad(loss_fn()[0], params, materialize_grads=True))

    # Steps so short that hardly a ReLU of DistilBERT changes sides between the two gradients.
    differences = [(gradient(h) - gradient(-h)) / (2 * h) for h in (2e-5, 1e-5)]
    assign(params, start)
    truth = (4 * differences[1] - differences[0]) / 3
    return float((product - truth).abs().max() / truth.abs().max())


STUDY = Study(
    about="Tiny random transformers of six families: exact products, and what RLHF steps do.",
    runs=runs,
    run=run,
    small={"family": "bert", "seed": 0},
)
