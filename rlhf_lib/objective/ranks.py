"""One loss over several processes: each holds a shard of the samples, all hold the parameters.

Start one process for each device, or several on one machine:

    torchrun --standalone --nproc-per-node 2 script.py
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 script.py

    # script.py
    with connect() as ranks:                     # gloo on CPUs, nccl on GPUs
        model = ...                              # the same on all ranks; or ranks.broadcast(params)
        optimizer = RLHFOptimizer(model.parameters(), process_group=ranks)
        for step in range(10):
            optimizer.step(loss_fn, batches=ranks.shard(micro_batches))

Every rank sums over its own micro-batches, weighted by the number of samples of ALL ranks, and one
all-reduce of one flat vector adds the ranks up: one for loss and gradient together, one for each
curvature product, one number for each loss of the line search. Shards may be of unequal size, and
empty. As every rank then has the same numbers bit for bit, all take the same steps of conjugate
gradients, and nothing else has to be sent.

Dropout masks are drawn by each rank for its own samples. The rule for what a closure may do is that
of one process, with one more: a decision that depends on a rank's own data must not change how many
steps or products it takes.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

# Functions in there take the default group of the moment of their import as a default argument.
# Imported later, as the first torch.optim.Optimizer does, they would keep the group and its threads
# beyond close() up to the end of the interpreter, which aborts some processes at exit.
import torch.distributed.nn.functional
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from .parameters import assign, flatten

_GRACE_SECONDS = 3.0
_START_SECONDS = 300.0
# In the tail of a vector each rank has its own places, which the sum leaves as they are: whether it
# is well, a print of what all must share and its scalar, the last two in a high and a low part.
PLACES = 5
Item = TypeVar("Item")
Solver = TypeVar("Solver")


class RankError(RuntimeError):
    """Another rank has failed, ended or diverged. The parameters are as before the step."""


class Ranks:
    """The processes that share a loss, as one of them sees them.

    Args:
        group: of ``torch.distributed``; None takes the default group.
        store: where ranks leave word of their errors; without one an error still ends all, but
            does not say whose it was. :func:`connect` brings one.
        timeout: seconds after which a silent rank counts as gone. The group's own timeout decides;
            this says it in messages.

    Attributes:
        rank, size: which of how many processes this is.
        all_reduces: how many vectors have been added up so far.
    """

    def __init__(
        self,
        group: dist.ProcessGroup | None = None,
        *,
        store: dist.Store | None = None,
        timeout: float | None = None,
    ):
        if not dist.is_initialized():
            raise RuntimeError(
                "there is no process group: use connect() in a script started by torchrun, or call "
                "torch.distributed.init_process_group first"
            )
        self.group, self.store, self.timeout = group, store, timeout
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise ValueError("this process is not a member of the process group it was given")
        self.all_reduces = 0
        nccl = dist.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if nccl else None
        self._buffer: Tensor | None = None
        self._sizes: set[int] = set()

    def __deepcopy__(self, memo: dict) -> Ranks:
        return self  # a copied optimizer still speaks to the same processes

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, RankError):
            self._tell(error)
        self.close()

    def close(self) -> None:
        """Leave the group; a rank that still waits for this one gets a RankError."""
        if dist.is_initialized():
            dist.destroy_process_group(self.group)

    def shard(self, items: Sequence[Item]) -> list[Item]:
        """Every size-th item, from this rank's own on: ragged, or empty, if there are few."""
        return list(items[self.rank :: self.size])

    def broadcast(self, params: Sequence[Tensor]) -> None:
        """Copy the parameters of rank 0 to all ranks."""
        vector = flatten(p.detach() for p in params)
        self._collective(lambda: dist.broadcast(vector, group=self.group, group_src=0))
        assign(params, vector)

    def add(
        self,
        compute: Callable[[], tuple[Tensor | None, float]],
        like: Sequence[Tensor] = (),
        *,
        same: Sequence[Tensor] = (),
        out: Tensor | None = None,
    ) -> tuple[Tensor, float]:
        """The sums over the ranks of what ``compute`` gives on each, in one all-reduce.

        Args:
            compute: returns this rank's flat vector, of as many entries as ``like`` has and in its
                dtype, and a scalar. None stands for zeros.
            same: what must be the same on all ranks: parameters, or the vector of a product.
            out: where the vector goes; default a new one.

        Returns:
            The vector, shape (n,), and the scalar, the same bits on all ranks.

        Raises:
            RankError: ``compute`` raised on another rank, a rank is gone, or the ranks do not
                agree on ``same``. Whatever ``compute`` raises here is raised here.
        """
        n = sum(p.numel() for p in like)
        if n and n not in self._sizes:
            # Vectors of two sizes in one all-reduce would abort the process.
            self._exchange(None, 0.0, None, 0, float(n), None, "the number of trained parameters")
            self._sizes.add(n)
        vector, scalar, error = None, 0.0, None
        try:
            vector, scalar = compute()
        except Exception as raised:  # reported by all ranks, this one included
            error = raised
            self._tell(error)
        shared = 0.0
        for tensor in same:
            shared += float(tensor.detach().sum(dtype=torch.float64))
        reference = like[0] if n else None
        total, scalars = self._exchange(
            vector, scalar, reference, n, shared, error, "the numbers they started from"
        )
        if out is None:
            return total.clone(), scalars
        return out.copy_(total), scalars

    def _exchange(
        self,
        vector: Tensor | None,
        scalar: float,
        reference: Tensor | None,
        n: int,
        shared: float,
        error: Exception | None,
        what: str,
    ) -> tuple[Tensor, float]:
        """The sums of n entries like the reference's and of a scalar; ``what`` names ``shared``."""
        if reference is None:
            reference = torch.empty(0, dtype=torch.float64, device=self._device)
        length = n + PLACES * self.size
        buffer = self._buffer
        if buffer is None or (len(buffer), buffer.dtype) != (length, reference.dtype):
            buffer = torch.empty(length, dtype=reference.dtype, device=reference.device)
            if n:  # a fresh vector of the model's size costs as much as a third of a product
                self._buffer = buffer
        if vector is None:
            buffer.zero_()
        else:
            buffer[:n].copy_(vector)
            buffer[n:] = 0
        own = [0.0 if error else 1.0, *_parts(shared, buffer), *_parts(scalar, buffer)]
        place = n + PLACES * self.rank
        buffer[place : place + PLACES] = torch.tensor(own, dtype=buffer.dtype)
        self._collective(lambda: dist.all_reduce(buffer, group=self.group), error)
        self.all_reduces += 1
        told = buffer[n:].view(self.size, PLACES).double().cpu()
        if error is not None:
            raise error
        failed = [rank for rank in range(self.size) if told[rank, 0] != 1]
        if failed:
            raise RankError("; ".join(self._heard(rank) for rank in failed))
        # NaN agrees with NaN, so that the finite check can say what is wrong.
        if not torch.equal(
            *(x.nan_to_num(nan=0.5) for x in (told[:, 1:3], told[0, 1:3].expand(self.size, 2)))
        ):
            raise RankError(
                f"the ranks do not agree on {what}: give all of them the same parameters "
                "(the same seed, or ranks.broadcast(params)), the same settings, and random "
                "vectors from generators with the same seed"
            )
        return buffer[:n], sum(high + low for high, low in told[:, 3:].tolist())

    def _collective(self, call: Callable[[], object], error: Exception | None = None) -> None:
        try:
            call()
        except RuntimeError as lost:
            if error is not None:
                raise error from lost
            raise RankError(self._missing()) from lost

    def _tell(self, error: BaseException) -> None:
        if self.store is not None:
            try:
                self.store.set(f"error/{self.rank}", f"{type(error).__name__}: {error}")
            except RuntimeError:
                self.store = None  # its keeper has ended, and the others will notice that, too

    def _heard(self, rank: int) -> str:
        said = None
        if self.store is not None and self.store.check([f"error/{rank}"]):
            said = self.store.get(f"error/{rank}").decode()
        return f"rank {rank} raised {said}" if said else f"rank {rank} raised an error: see there"

    def _missing(self) -> str:
        """Which ranks do not sign in once a collective has failed, or what they had to say."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        limit = "its timeout" if self.timeout is None else f"timeout = {self.timeout:g} s"
        silent = f"no longer answers: it has ended, or was busy for longer than {limit}. Look at "
        if self.store is None:
            return f"one of the ranks {others} {silent}the outputs of all"
        until = time.monotonic() + _GRACE_SECONDS
        try:
            self.store.set(f"here/{self.rank}", "")
            while True:
                spoke = [rank for rank in others if self.store.check([f"error/{rank}"])]
                here = [rank for rank in others if self.store.check([f"here/{rank}"])]
                gone = [rank for rank in others if rank not in spoke + here]
                if spoke or not gone or time.monotonic() > until:
                    break
                time.sleep(0.05)
            if spoke:
                return "; ".join(self._heard(rank) for rank in spoke)
        except RuntimeError:
            gone = [0] if 0 in others else others
        if not gone:
            return "the connection between the ranks was lost: look at the network"
        return "; ".join(f"rank {rank} {silent}its output" for rank in gone)


def connect(backend: str | None = None, *, timeout: float = 600.0) -> Ranks:
    """Join the process group that torchrun has prepared; leave it with ``with`` or ``close()``.

    Args:
        backend: "gloo" or "nccl"; default nccl where there is a GPU. With nccl each process takes
            the GPU of its local rank.
        timeout: seconds a rank may be busy while another waits for it. A rank that ends is noticed
            at once, one that hangs after this time. More than the slowest rank's product takes.

    Raises:
        RuntimeError: not started by torchrun.
    """
    missing = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} - set(os.environ)
    if missing:
        raise RuntimeError(
            f"no {', '.join(sorted(missing))} in the environment: start the script by "
            "torchrun --standalone --nproc-per-node 2 script.py"
        )
    backend = backend or ("nccl" if torch.cuda.is_available() else "gloo")
    if backend == "nccl":
        # Or a rank that has ended would leave the others waiting in a kernel.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    limit, start = timedelta(seconds=timeout), timedelta(seconds=max(timeout, _START_SECONDS))
    store, rank, size = next(rendezvous("env://", timeout=start))
    # torchrun's own store outlives a restart of the ranks, and so would old words in it.
    store = dist.PrefixStore(f"rlhf/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    # One may import for longer than a short timeout allows, so all meet before it counts.
    store.set(f"ready/{rank}", "")
    store.wait([f"ready/{other}" for other in range(size)], start)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    return Ranks(store=dist.PrefixStore("words", store), timeout=timeout)


# What a ``process_group`` argument may be.
ProcessGroup = Ranks | dist.ProcessGroup | None


def as_ranks(group: ProcessGroup) -> Ranks | None:
    """Ranks from what a ``process_group`` argument is: Ranks, a torch process group or None."""
    if group is None or isinstance(group, Ranks):
        return group
    if isinstance(group, dist.ProcessGroup):
        return Ranks(group)
    raise TypeError(
        "expected process_group to be connect()'s Ranks or a torch.distributed process group, got "
        f"{type(group).__name__}"
    )


def refuse_wrapped(params: Sequence[Tensor], ranks: Ranks | None) -> None:
    """Raise ValueError for parameters whose wrapper would let the ranks go apart without a word.

    DistributedDataParallel adds gradients up in hooks that ``backward()`` runs, and
    ``torch.autograd.grad`` does not; FullyShardedDataParallel leaves each rank a part of each
    parameter.
    """
    if not dist.is_initialized():
        return
    fsdp = sys.modules.get("torch.distributed.fsdp")
    kinds = (fsdp.FullyShardedDataParallel,) if fsdp else ()
    if ranks is None and dist.get_world_size() > 1:
        kinds = (*kinds, torch.nn.parallel.DistributedDataParallel)
    own = {id(p) for p in params}
    # A parameter does not know its wrapper, so all objects are asked, once for an optimizer.
    wrappers = {
        type(thing).__name__
        for thing in (gc.get_objects() if kinds else ())
        if issubclass(type(thing), kinds) and any(id(p) in own for p in thing.parameters())
    }
    if "DistributedDataParallel" in wrappers:
        raise ValueError(
            "expected process_group=... with parameters of a DistributedDataParallel model, got "
            "none: it adds gradients up over the ranks in backward(), which is not called here, so "
            "each rank would go its own way. Make the optimizer with process_group="
            "torch.distributed.group.WORLD and give step this rank's batches, as in "
            "rlhf_lib.objective.ranks; the closure may call the model itself, ddp.module"
        )
    if wrappers or any(hasattr(p, "full_tensor") for p in params):
        raise ValueError(
            "expected whole parameters on each rank, got those of fully sharded data parallel: "
            "share the samples and not the parameters, by process_group=..."
        )


def solver_of_ranks(solver: Solver, preconditioner: object) -> Solver | str:
    """The solver that several ranks can run, or a ValueError that names one.

    Args:
        solver: a name, or an object that says so by ``for_ranks``.
    """
    if not isinstance(solver, str) and not getattr(solver, "for_ranks", False):
        raise ValueError(
            f"expected a solver that ranks may use together, such as ConjugateGradients, got "
            f"{type(solver).__name__}: if it takes the same steps on all ranks, give it the "
            "attribute for_ranks = True"
        )
    if solver == "dual":
        raise ValueError(
            "expected solver='cg' with a process_group, got 'dual': solver='dual' needs the rows "
            "of all samples in one process"
        )
    if isinstance(preconditioner, str):
        raise ValueError(
            "expected preconditioner=None or a tensor that is the same on all ranks, got "
            f"preconditioner={preconditioner!r}, which is made from one rank's samples or random "
            "signs, so that the ranks would go apart"
        )
    return "cg" if solver == "auto" else solver


def _parts(value: float, like: Tensor) -> Iterable[float]:
    """A double as the sum of two numbers of like's dtype; what is not finite is the first."""
    high = float(torch.tensor(value, dtype=torch.float64).to(like.dtype))
    low = value - high
    return (high, low) if abs(low) < float("inf") else (high, 0.0)
