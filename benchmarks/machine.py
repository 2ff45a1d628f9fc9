"""What a result was measured on and with: in words, without names of hosts or folders."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

COURSE = ("torch", "transformers", "numpy", "scipy", "scikit-learn")
PEERS = (
    "curvlinops-for-pytorch",
    "backpack-for-pytorch",
    "PyHessian",
    "hessian-eigenthings",
    "pytorch-minimize",
    "laplace-torch",
    "skglm",
)


def versions() -> dict[str, str]:
    """`{package: version}`; a peer that is missing is "not installed"."""

    def one(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    return {"python": platform.python_version(), **{n: one(n) for n in (*COURSE, *PEERS)}}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(device: str) -> str:
    """For example "2 cores x86_64, Linux, no GPU"."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU used"
    return f"{cores()} cores {platform.machine()}, {platform.system()}, {gpu}"


def about(device: str) -> dict:
    """Date, machine and versions, the head of every result file."""
    return {
        "date": datetime.date.today().isoformat(),
        "device": device,
        "machine": describe(device),
        "versions": versions(),
    }
