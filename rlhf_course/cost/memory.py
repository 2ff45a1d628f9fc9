"""How much memory a computation takes, counted tensor by tensor: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(function: Callable[[], Any]) -> int:
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
