"""A linearized model: what its set-up costs and what follows from it, beside training the real one.

Unit: one gradient of the mean loss over all training samples, CPU seconds on one thread. The
evidence is compared with laplace-torch's in the same run, at theta_0, where both linearize.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from rlhf_lib import RLHFOptimizer, linearize
from rlhf_lib.objective import flatten
from rlhf_lib.text import ClassificationTask, load_dataset, load_model, start_head

from .machine import about
from .measure import CPU_1, failure, timed

LAMBDA, DAMPING, STEPS = 0.03, 1.0, 16
LAMBDAS = tuple(10 ** (1 - k / 3) for k in range(12))


def reviews(sentences: int, held_out: int, layers: int | None, name: str = "minilm"):
    """The embedded BERT under a probe: (module, training, held-out, named parameters)."""
    model, tokenizer = load_model("classification", name)
    data = load_dataset("course-reviews")
    task = ClassificationTask(
        model,
        tokenizer,
        data.train.subset(sentences),
        data.validation.subset(held_out),
        top_layers=layers,
        max_length=22,
    )
    start_head(task, "probe")  # under a head of zeros no weight below would have a gradient

    def split(part):
        return {k: v for k, v in part.items() if k != "labels"}, part["labels"]

    return task.module, split(task.training), split(task.validation), task.trained()


def small_net(samples: int = 200):
    """A net of 722 parameters, small enough for a dense posterior."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 2))
    X, y = torch.randn(samples, 20), torch.randint(2, (samples,))
    return net, (X, y), (X[:20], y[:20]), list(net.named_parameters())


PROBLEMS: dict[str, Callable] = {
    "BERT, top layer, 200 + 400 reviews": lambda: reviews(200, 400, 1),
    "MLP, 200 + 20 samples": small_net,
}
FAST: dict[str, Callable] = {
    "tiny BERT, 20 + 20 reviews": lambda: reviews(20, 20, 1, "tiny-random"),
    "MLP, 40 + 20 samples": lambda: small_net(40),
}


def measure(title: str, make: Callable, repeats: int) -> dict:
    """One problem: CPU seconds, and the same in gradients."""
    module, training, held_out, named = make()
    params = [p for _, p in named]

    def outputs():
        inputs = training[0]
        return module(**inputs) if isinstance(inputs, dict) else module(inputs)

    def closure():
        z = outputs()
        return F.cross_entropy(z, training[1]), z

    def gradient():
        return torch.autograd.grad(closure()[0], params)

    def median(run: Callable) -> float:
        run()
        return statistics.median(timed(run, CPU_1)[0] for _ in range(repeats))

    one = median(gradient)
    setup, linear = timed(
        lambda: linearize(module, training, held_out, params=named, include_all=True), CPU_1
    )
    found = {
        "title": title,
        "parameters": sum(p.numel() for p in params),
        "gradient": one,
        "set-up": setup,
        "run": median(lambda: linear.run(LAMBDA, damping=DAMPING, steps=STEPS, tol=0.0)),
        "path": median(lambda: linear.path(LAMBDAS)),
    }
    path = linear.path(LAMBDAS)
    found["criteria"] = timed(lambda: (path.loo, path.evidence, path.column("dof")), CPU_1)[0]
    optimizer = RLHFOptimizer(
        named, lambda_reg=LAMBDA, regularizer="l2sp", damping=DAMPING, solver="auto"
    )
    found["real steps"] = timed(lambda: [optimizer.step(closure) for _ in range(4)], CPU_1)[0] / 4
    linear.back()
    tensors = [getattr(linear.grams, name) for name in ("matrices", "held", "start", "reach")]
    found["kept_mib"] = sum(t.nbytes for t in tensors) / 2**20
    found["jacobian_mib"] = len(linear.grams.start) * found["parameters"] * 4 / 2**20
    small = found["parameters"] < 5000
    found["laplace-torch"] = peer(module, training, params, linear) if small else None
    return found


def peer(module, training, params, linear) -> dict:
    """The evidence at theta_0 by both libraries, and what each takes from scratch."""
    n = len(training[1])
    try:
        from laplace import Laplace
        from laplace.curvature import CurvlinopsGGN
        from torch.utils.data import DataLoader, TensorDataset

        def theirs() -> float:
            posterior = Laplace(
                module,
                "classification",
                subset_of_weights="all",
                hessian_structure="full",
                prior_precision=n * LAMBDA,
                prior_mean=flatten(p.detach() for p in params),
                backend=CurvlinopsGGN,
            )
            posterior.fit(DataLoader(TensorDataset(*training), batch_size=n))
            return float(posterior.log_marginal_likelihood())

        theirs()  # what is imported late
        seconds, evidence = timed(theirs, CPU_1)
    except Exception as error:  # a peer may fail in any way; the run goes on and says how
        return {"error": failure(error)}

    def ours() -> float:
        fresh = linearize(module, training, params=params, include_all=True)
        return fresh.run(LAMBDA, steps=0).log_evidence

    own, value = timed(ours, CPU_1)
    return {
        "evidence": evidence,
        "ours": value,
        "seconds": seconds,
        "our seconds": own,
        "another lambda": timed(lambda: linear.run(0.1, steps=0).log_evidence, CPU_1)[0],
        "error": None,
    }


def run(*, fast: bool = False) -> dict:
    """All problems."""
    with CPU_1.active():
        problems = [
            measure(title, make, 3 if fast else 7)
            for title, make in (FAST if fast else PROBLEMS).items()
        ]
    return {**about("cpu"), "steps": STEPS, "lambdas": len(LAMBDAS), "problems": problems}
