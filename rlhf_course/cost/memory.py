"""How much memory a computation takes at its peak.

By tensors (:func:`tensor_bytes`): the same on every machine. By what the operating system gives to
the process, or the allocator of a GPU (:func:`held_bytes`): with scratch memory and fragments, and
best asked for :func:`in_own_process`, where nothing else has held memory before.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Result = TypeVar("Result")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def tensor_bytes(function: Callable[[], Any]) -> int:
    """Most bytes of tensors that `function()` itself made and that were alive at one time.

    Its result counts, what was there before does not, and neither do the operating system's
    pages or scratch memory inside a single operation: a resident-memory gauge shows more.
    """
    with _Watch() as watch:
        function()
    return watch.peak


class _Watch(TorchDispatchMode):
    """Sees every operation, those of the backward passes too, and keeps count of new storages."""

    def __init__(self):
        super().__init__()
        self.peak = 0
        self._old: dict[int, StorageWeakRef] = {}
        self._new: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # What comes in unseen was made before; a view of it that comes out is not new either.
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._new:
                self._old.setdefault(storage._cdata, StorageWeakRef(storage))
        result = func(*args, **(kwargs or {}))
        self._old = {key: ref for key, ref in self._old.items() if not ref.expired()}
        self._new = {key: new for key, new in self._new.items() if not new[0].expired()}
        for storage in _storages(result):
            if storage._cdata not in self._old:
                self._new[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, sum(size for _, size in self._new.values()))
        return result


def _storages(tree: Any) -> list:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def held_bytes(function: Callable[[], Any], device: str = "cpu") -> int:
    """Most bytes that this process held during `function()`, above what it held before.

    Of resident memory, or with device "cuda" of what torch's allocator gave out there. Where the
    system cannot start its high-water mark anew (other than Linux), a peak before hides a lower
    one: the difference is then too small, down to 0.
    """
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - held
    held = _start()
    function()
    return _peak() - held


def in_own_process(function: Callable[..., Result], *args: Any) -> Result:
    """`function(*args)`, both to be pickled, in a fresh process; what it raises is raised here.

    RuntimeError where the process ends without an answer, as when memory runs out.
    """
    # The server loads the libraries once; each process starts as a copy of it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def _start() -> int:
    """Bytes held now; the high-water mark starts from here where the system allows that."""
    if _STATUS.exists() and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that glibc keeps would hide a part
    try:
        _CLEAR.write_text("5")
    except OSError:
        return _peak()
    return _resident("VmRSS") or _peak()


def _peak() -> int:
    """High-water mark of this process's resident memory, in bytes.

    Not ru_maxrss on Linux: a child inherits its parent's there.
    """
    marked = _resident("VmHWM")
    if marked is not None:
        return marked
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _resident(key: str) -> int | None:
    """Bytes of a line of Linux's status file, None elsewhere."""
    if not _STATUS.exists():
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
