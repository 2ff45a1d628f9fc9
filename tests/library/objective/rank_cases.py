"""What each of several processes does in test_ranks.py, and the one problem they share."""

import gc
import os
import sys
import time
from pathlib import Path

import torch

from rlhf_lib.curvature import GaussNewtonOperator, HessianOperator
from rlhf_lib.objective import TaskLoss, connect, flatten
from rlhf_lib.optimizer import RLHFOptimizer
from rlhf_lib.train import train

MICRO = (5, 3, 4, 1)  # samples; ragged, so that a mean of the ranks' means would be wrong
STEPS = 3
OPTIMIZERS = {
    "ggn, l2sp": {"regularizer": "l2sp", "lambda_reg": 0.05, "damping": 0.3, "max_iter": 6},
    "hessian, l1": {
        "curvature": "hessian",
        "regularizer": "l1",
        "lambda_reg": 0.02,
        "damping": 3.0,
        "max_iter": 5,
        "keep_graph": False,
    },
    "proximal": {"regularizer": "group-lasso", "lambda_reg": 0.01, "damping": 0.5, "max_iter": 5},
}


def problem(dtype):
    """(net, loss_fn, micro-batches, v): a small classifier with LayerNorm; all is seeded."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 6), torch.nn.LayerNorm(6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
        ).to(dtype)
    batches = [
        (
            torch.randn(n, 4, generator=generator, dtype=torch.float64).to(dtype),
            torch.randint(3, (n,), generator=generator),
        )
        for n in MICRO
    ]
    size = sum(p.numel() for p in net.parameters())
    v = torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)

    def loss_fn(batch):
        logits = net(batch[0])
        return torch.nn.functional.cross_entropy(logits, batch[1]), logits

    return net, loss_fn, batches, v


def solved(dtype, group=None, shard=lambda batches: batches):
    """Everything that ranks and one process must agree on, by name."""
    net, loss_fn, batches, v = problem(dtype)
    params = list(net.parameters())
    found = {}
    for name, kind, keep in (
        ("Hv", HessianOperator, True),
        ("Gv", GaussNewtonOperator, True),
        ("Hv again", HessianOperator, False),
        ("Gv again", GaussNewtonOperator, False),
    ):
        operator = kind(loss_fn, params, shard(batches), keep_graph=keep, process_group=group)
        found["loss"], found["gradient"] = torch.tensor(operator.loss), operator.gradient
        found[name] = operator @ v
    task = TaskLoss(loss_fn, shard(batches), process_group=group)
    found["value"] = torch.tensor(task.value(), dtype=torch.float64)
    found["gradient alone"] = task.value_and_gradient(params)[1]
    found["samples"] = torch.tensor(float(task.samples))
    for name, options in OPTIMIZERS.items():
        net, loss_fn, batches, _ = problem(dtype)
        optimizer = RLHFOptimizer(net.parameters(), process_group=group, **options)
        records = list(train(loss_fn, optimizer, [shard(batches)], epochs=STEPS))
        found[f"losses, {name}"] = torch.tensor([r.loss for r in records])
        found[f"cost, {name}"] = torch.tensor(records[-1].cost)
        found[f"parameters, {name}"] = flatten(p.detach() for p in net.parameters())
    net, loss_fn, batches, _ = problem(dtype)
    optimizer = RLHFOptimizer(net.parameters(), process_group=group, damping=0.5, max_iter=4)
    optimizer.step(loss_fn, batches=shard(batches), curvature_batches=shard(batches[:3]))
    found["parameters, fewer for the curvature"] = flatten(p.detach() for p in net.parameters())
    return found


def agree(ranks, folder):
    """Save what this rank finds, with ragged shards and with an empty one."""
    for dtype in (torch.float32, torch.float64):
        found = solved(dtype, ranks, ranks.shard)
        torch.save(found, folder / f"{dtype}-{ranks.rank}.pt")
    last = ranks.size - 1
    empty = solved(
        torch.float64,
        ranks,
        lambda all_: [] if ranks.rank == last else all_[ranks.rank :: max(last, 1)],
    )
    torch.save(empty, folder / f"empty-{ranks.rank}.pt")
    torch.save(counts(ranks), folder / f"counts-{ranks.rank}.pt")
    torch.save(raised_together(ranks), folder / f"raised-{ranks.rank}.pt")


def counts(ranks):
    """All-reduces of each operation, after the first vector of its size."""
    net, loss_fn, batches, v = problem(torch.float64)
    params, shard = list(net.parameters()), ranks.shard(batches)
    made = {}

    def counted(name, operation):
        before = ranks.all_reduces
        result = operation()
        made[name] = ranks.all_reduces - before
        return result

    task = counted("samples", lambda: TaskLoss(loss_fn, shard, process_group=ranks))
    for kind in (HessianOperator, GaussNewtonOperator):
        operator = counted("loss and gradient", lambda kind=kind: kind(task, params))
        counted(f"product of {kind.__name__}", lambda operator=operator: operator @ v)
    counted("line-search loss", task.value)
    return made


def raised_together(ranks):
    """What is raised here when something is wrong on one rank only, and that all go on after it."""
    raised = {}

    def attempt(name, operation):
        try:
            operation()
        except Exception as error:
            raised[name] = f"{type(error).__name__}: {error}"

    net, loss_fn, batches, v = problem(torch.float64)
    params, shard = list(net.parameters()), ranks.shard(batches)
    passes = 0

    def fails_on_one(batch):
        nonlocal passes
        passes += 1
        if ranks.rank == 1 and passes > 1:
            raise ArithmeticError("out of range")
        return loss_fn(batch)

    optimizer = RLHFOptimizer(params, process_group=ranks, damping=0.5, max_iter=2)
    before = flatten(p.detach() for p in params)
    attempt("closure", lambda: optimizer.step(fails_on_one, batches=shard))
    raised["unchanged"] = torch.equal(before, flatten(p.detach() for p in params))
    attempt(
        "not counted",
        lambda: TaskLoss(loss_fn, shard if ranks.rank else ["no tensor"], process_group=ranks),
    )

    def nan_on_one(batch):
        loss, outputs = loss_fn(batch)
        return loss * (float("nan") if ranks.rank else 1.0), outputs

    attempt("nan", lambda: optimizer.step(nan_on_one, batches=shard))
    attempt("no samples", lambda: TaskLoss(loss_fn, [], process_group=ranks))
    operator = HessianOperator(loss_fn, params, shard, process_group=ranks)
    attempt("other vector", lambda: operator @ (v + 1e-9 * ranks.rank))
    with torch.no_grad():
        params[0] += 1e-12 * ranks.rank
    attempt("other start", lambda: optimizer.step(loss_fn, batches=shard))
    ranks.broadcast(params)
    attempt("after the broadcast", lambda: optimizer.step(loss_fn, batches=shard))
    data_parallel(net, attempt, loss_fn, shard, ranks)
    gc.collect()  # the wrapper holds the group, also beyond close()
    attempt(
        "other sizes",
        lambda: HessianOperator(loss_fn, params[1 + ranks.rank :], shard, process_group=ranks),
    )
    return raised


def data_parallel(net, attempt, loss_fn, shard, ranks):
    wrapped = torch.nn.parallel.DistributedDataParallel(net)
    alone, shared = (RLHFOptimizer(wrapped.parameters(), process_group=g) for g in (None, ranks))
    attempt("data parallel alone", lambda: alone.step(lambda: loss_fn(shard[0])))
    attempt("data parallel together", lambda: shared.step(loss_fn, batches=shard))


def fail(ranks, how):
    """One product together; in the second one rank 1 dies, hangs or leaves with an error."""
    net, loss_fn, batches, v = problem(torch.float32)
    operator = HessianOperator(loss_fn, net.parameters(), ranks.shard(batches), process_group=ranks)
    v = operator @ v
    if ranks.rank == 1:
        if how == "die":
            os._exit(9)
        if how == "hang":
            time.sleep(60)
        raise KeyError("a column of the table")
    operator @ v


def threads():
    """Names of the operating system's threads of this process, where the system lists them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def started(how, rank, size, port, timeout, folder):
    """Entry of a process that no torchrun looks after; its messages go to a file."""
    output = os.open(folder / f"{how}-{rank}.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 2)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with connect("gloo", timeout=timeout) as ranks:
        if how == "agree":
            agree(ranks, folder)
        else:
            fail(ranks, how)


if __name__ == "__main__":
    saved = Path(sys.argv[1])
    with connect("gloo", timeout=60) as every:
        agree(every, saved)
    (saved / f"threads-{every.rank}.txt").write_text("\n".join(threads()))
