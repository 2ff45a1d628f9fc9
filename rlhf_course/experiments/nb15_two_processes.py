"""Two real processes on this machine share the sentences of a tiny BERT: agreement and seconds.

The notebook calls :func:`two_processes`; it starts ``python -m torch.distributed.run`` on this
module, whose ranks measure and compare as :func:`_measure` says.

>>> found = two_processes(sentences=24, products=5)                       # doctest: +SKIP
>>> found.all_reduces_per_product, found.bytes_per_product                # doctest: +SKIP
(1, 16672)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rlhf_lib import text
from rlhf_lib.curvature import GaussNewtonOperator, HessianOperator
from rlhf_lib.objective import assign, flatten
from rlhf_lib.objective.ranks import PLACES, Ranks, connect
from rlhf_lib.optimizer import RLHFOptimizer
from rlhf_lib.timing import Stopwatch, rounds

MODULE = "rlhf_course.experiments.nb15_two_processes"


@dataclass(frozen=True)
class TwoProcesses:
    """What two processes found, beside one process with all sentences.

    Attributes:
        parameters: n. processes, sentences: how many.
        shares: sentences on each rank; ragged on purpose.
        differences: largest difference from one process, relative to its largest entry, of
            "loss", "gradient", "Hv", "Gv" and "three steps" (the parameters after them).
        same_on_all: whether all ranks ended with the same parameters, bit for bit.
        all_reduces_per_product: counted. bytes_per_product: sent by each rank into one.
        seconds_one, seconds_each, seconds_reduce: one Gauss-Newton product, median: in one process
            with all sentences, in the slowest rank with the others at work, and the all-reduce of
            one vector alone.
        seconds_total: wall time of it all, with the start of the processes.
        seconds_steps: the three steps, slowest rank.
    """

    parameters: int
    processes: int
    sentences: int
    shares: list[int]
    differences: dict[str, float]
    same_on_all: bool
    all_reduces_per_product: int
    bytes_per_product: int
    seconds_one: float
    seconds_each: float
    seconds_reduce: float
    seconds_steps: float
    seconds_total: float


def two_processes(
    *,
    processes: int = 2,
    sentences: int = 24,
    products: int = 5,
    model: str = "tiny-random",
    dtype: str = "float64",
    max_length: int = 32,
    timeout: float = 120.0,
) -> TwoProcesses:
    """Start the processes on loopback, let them share a BERT's sentences, and gather the result.

    Args:
        processes: how many; the ranks get shares as unequal as 2 : 1.
        sentences: of the embedded reviews. products: timed products of each kind.
        model: "tiny-random" (seconds) or "minilm" (22.7 million parameters, minutes).
        dtype: "float32" or "float64". max_length: tokens a sentence.
        timeout: seconds after which all are ended.

    Raises:
        RuntimeError: a process failed; the message ends with what it printed.
    """
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.json"
        settings = {
            "sentences": sentences,
            "products": products,
            "model": model,
            "dtype": dtype,
            "max_length": max_length,
            "path": str(path),
            "timeout": timeout,
        }
        # They import what this process does, wherever it has found it.
        places = os.pathsep.join(map(os.path.abspath, sys.path))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": places}
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            "-m",
            MODULE,
            json.dumps(settings),
        ]
        try:
            done = subprocess.run(
                command, env=environment, timeout=timeout, capture_output=True, text=True
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"the {processes} processes took longer than timeout = {timeout:g} s: ask for "
                "fewer sentences or products, or give them more time"
            ) from error
        if done.returncode or not path.is_file():
            raise RuntimeError(f"one of {processes} processes failed:\n{done.stderr[-3000:]}")
        found = json.loads(path.read_text())
    return TwoProcesses(**found, seconds_total=watch.seconds.wall)


def _measure(ranks: Ranks, settings: dict) -> None:
    """What each rank does; rank 0 writes the result to ``settings["path"]``."""
    dtype = getattr(torch, settings["dtype"])
    model, tokenizer = text.load_model(name=settings["model"], pooling="model", dtype=dtype)
    params = list(model.parameters())
    start = flatten(p.detach() for p in params)
    data = text.load_dataset("course-reviews", split="train").subset(settings["sentences"])
    encoded = text.encode(tokenizer, data.texts, max_length=settings["max_length"])
    batch = {**encoded, "labels": torch.tensor(data.labels)}
    shares = _shares(len(data.texts), ranks.size)
    first = sum(shares[: ranks.rank])
    own = [{k: v[first : first + shares[ranks.rank]] for k, v in batch.items()}]
    v = torch.randn(
        len(start), dtype=dtype, generator=torch.Generator().manual_seed(0)
    )  # the same on every rank

    def loss_fn(batch):
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        logits = model(**inputs).logits
        return torch.nn.functional.cross_entropy(logits, batch["labels"]), logits

    def findings(batches, group):
        hessian = HessianOperator(loss_fn, params, batches, process_group=group)
        gauss_newton = GaussNewtonOperator(loss_fn, params, batches, process_group=group)
        found = {
            "loss": torch.tensor([hessian.loss]),
            "gradient": hessian.gradient,
            "Hv": hessian @ v,
            "Gv": gauss_newton @ v,
        }
        before = ranks.all_reduces
        seconds = _seconds(lambda: gauss_newton @ v, settings["products"])
        made = (ranks.all_reduces - before) / (settings["products"] + 1)
        assign(params, start)
        optimizer = RLHFOptimizer(
            params,
            regularizer="l2sp",
            lambda_reg=0.01,
            damping=1.0,
            max_iter=5,
            process_group=group,
        )
        watch = Stopwatch()
        for _ in range(3):
            optimizer.step(loss_fn, batches=batches)
        found["three steps"] = flatten(p.detach() for p in params)
        assign(params, start)
        return found, seconds, made, watch.seconds.wall

    together, seconds_each, made, seconds_steps = findings(own, ranks)
    vector = torch.zeros_like(start)
    seconds_reduce = _seconds(
        lambda: ranks.add(lambda: (vector, 0.0), params), settings["products"]
    )
    end = together["three steps"]
    ends = [torch.empty_like(end) for _ in range(ranks.size)]
    torch.distributed.all_gather(ends, end)
    slowest = torch.tensor([seconds_each, seconds_reduce, seconds_steps])
    torch.distributed.all_reduce(slowest, torch.distributed.ReduceOp.MAX)
    if ranks.rank:
        return
    # Once the others have nothing more to do, so that nobody's seconds are shared.
    alone, seconds_one, *_ = findings([batch], None)
    each, reduce, steps = slowest.tolist()
    result = {
        "parameters": len(start),
        "processes": ranks.size,
        "sentences": len(data.texts),
        "shares": shares,
        "differences": {
            name: float((together[name] - x).abs().max() / x.abs().max())
            for name, x in alone.items()
        },
        "same_on_all": all(torch.equal(end, other) for other in ends),
        "all_reduces_per_product": round(made),
        "bytes_per_product": _bytes(ranks, start),
        "seconds_one": seconds_one,
        "seconds_each": each,
        "seconds_reduce": reduce,
        "seconds_steps": steps,
    }
    Path(settings["path"]).write_text(json.dumps(result))


def _bytes(ranks: Ranks, vector: Tensor) -> int:
    return (len(vector) + PLACES * ranks.size) * vector.element_size()


def _shares(sentences: int, ranks: int) -> list[int]:
    """Sentences of each rank: the first has twice as many as each of the others."""
    others = sentences // (ranks + 1)
    return [sentences - others * (ranks - 1)] + [others] * (ranks - 1)


def _seconds(operation, times: int) -> float:
    """Median wall time of one, after one that does not count."""
    return rounds({"": operation}, times)[""].median.wall


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = json.loads(sys.argv[1])
    with connect("gloo", timeout=given["timeout"]) as every:
        _measure(every, given)
