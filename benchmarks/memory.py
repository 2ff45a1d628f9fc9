"""Peak memory of one contender, in a fresh process: python -m benchmarks.memory PROBLEM ...

What is reported is the peak resident memory (GPU: the peak allocation) while the contender works,
above what the process holds once the model has been built and used for one gradient, and the
contender's library has been loaded. That of one plain gradient is measured in the same way, in a
process of its own, so the difference of the two is what a product needs on top of a gradient.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import torch

from . import HERE, ours, peers, problems  # noqa: F401 - ours and peers enter the contenders
from .contenders import Contender, find
from .measure import failure

PRODUCTS = 3
TINY = "tiny-mlp"
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _resident(key: str) -> int | None:
    """Bytes of a line of Linux's status file, None elsewhere."""
    if not STATUS.exists():
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def peak() -> int:
    """High-water mark of this process's resident memory, in bytes.

    Not ru_maxrss on Linux: a child inherits its parent's there.
    """
    marked = _resident("VmHWM")
    if marked is not None:
        return marked
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def start() -> int:
    """Bytes held now; the high-water mark starts from here where the system allows that."""
    gc.collect()
    if STATUS.exists() and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory that glibc keeps would hide a part
    try:
        CLEAR.write_text("5")
    except OSError:
        return peak()
    return _resident("VmRSS") or peak()


def work(contender: Contender, problem: problems.Problem, shift: float) -> None:
    """Set up and use a contender as the timing does, a few products long."""
    if contender.quantity == "solve":
        contender.make(problem, problem.vector(), shift)
    elif contender.quantity == "gradient":
        contender.make(problem)()
    else:
        product, v = contender.make(problem), problem.vector()
        for _ in range(PRODUCTS):
            product(v)


def main() -> None:
    """The child process: prints one JSON object as its last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem")
    parser.add_argument("quantity")
    parser.add_argument("contender")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shift", type=float, default=1.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        contender = find(args.quantity, args.contender)
        problem = problems.load(args.problem, args.device)
        # Loads what the contender imports, which is no part of what its products take.
        work(contender, problems.load(TINY, args.device), args.shift)
        problem.gradient()  # weights read from a mapped file are resident from here on
        if args.device == "cuda":
            gc.collect()
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
            work(contender, problem, args.shift)
            used = torch.cuda.max_memory_allocated() - held
        else:
            held = start()
            work(contender, problem, args.shift)
            used = peak() - held
        print(json.dumps({"mib": round(used / 2**20, 1)}))
    except Exception as error:  # a contender may fail in any way; the run goes on and says how
        print(json.dumps({"error": failure(error)}))


def in_fresh_process(contender: Contender, problem: str, device: str, shift: float) -> dict:
    """`{"mib": ...}` or `{"error": ...}` of a contender on a problem."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.memory",
        problem,
        contender.quantity,
        contender.name,
        "--device",
        device,
        "--shift",
        str(shift),
    ]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": f"the process ended with status {done.returncode}"}
    return json.loads(lines[-1])


if __name__ == "__main__":
    main()
