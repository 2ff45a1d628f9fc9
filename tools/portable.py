"""The notebooks under several numeric paths of one machine: which cells leave their tolerance.

    python tools/portable.py [NOTEBOOK ...] [--paths "ATen default,ATen AVX2"] [--jobs 2]

A path is a set of environment variables that make PyTorch and its libraries choose other
instructions or another number of threads, as another processor would. A path that this processor
does not offer is named and left out. A NOTEBOOK is a number such as 04, for the form with
solutions, or a path; without one: all of notebooks/solutions.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from rlhf_lib.timing import Stopwatch

ROOT = Path(__file__).resolve().parents[1]
# Run as a script, it finds its neighbours as the tests do.
sys.path.insert(0, str(ROOT))

from tools.notebooks import SOLUTIONS, paths_of  # noqa: E402

# Each differs from "native" by one library's choice alone, but for the last, which is the farthest.
PATHS = {
    "native": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "ATen default": {"ATEN_CPU_CAPABILITY": "default"},
    "ATen AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "MKL AVX2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "MKL compatible": {"MKL_CBWR": "COMPATIBLE"},
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "all least": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}
NEEDS_AVX2 = {"ATen AVX2", "MKL AVX2", "oneDNN AVX2"}
X86_ONLY = NEEDS_AVX2 | {"MKL compatible", "all least"}


def offered():
    """Names of the paths that this processor has, and a reason for each that it has not."""
    import torch

    x86 = platform.machine().lower() in ("x86_64", "amd64")
    has = torch.backends.cpu.get_cpu_capability()
    missing = {}
    for name in PATHS:
        if name in X86_ONLY and not x86:
            missing[name] = f"the processor is {platform.machine()}"
        elif name in NEEDS_AVX2 and has == "DEFAULT":
            missing[name] = "the processor has no AVX2"
        elif name == "two threads" and (os.cpu_count() or 1) < 2:
            missing[name] = "there is one core"
    return [name for name in PATHS if name not in missing], missing


def run_path(name, notebooks, jobs):
    """`(cells passed, list of cells that failed, seconds)` of the notebooks under one path."""
    threads = {"OMP_NUM_THREADS": "1"} | PATHS[name]
    if threads["OMP_NUM_THREADS"] != "1":
        jobs = 1  # two notebooks with two threads each wait for one another on two cores
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        watch = Stopwatch()
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                *(["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []),
                "--nbval",
                "--nbval-current-env",
                "--nbval-cell-timeout=600",
                f"--junitxml={report}",
                *map(str, notebooks),
            ],
            cwd=ROOT,
            env=os.environ | threads,
            capture_output=True,
            text=True,
        )
        seconds = watch.seconds.wall
        if run.returncode not in (0, 1):
            raise SystemExit(f"pytest ended with {run.returncode}:\n{run.stdout}\n{run.stderr}")
        cells = list(ET.parse(report).getroot().iter("testcase"))
    failed = [
        (f"{cell.get('classname', '')} {cell.get('name')}", _reason(cell))
        for cell in cells
        if cell.find("failure") is not None or cell.find("error") is not None
    ]
    return len(cells) - len(failed), failed, seconds


def _reason(cell):
    found = cell.find("failure") if cell.find("failure") is not None else cell.find("error")
    lines = [line for line in (found.text or found.get("message", "")).split("\n") if line.strip()]
    return "\n".join(f"      {line[:160]}" for line in lines[-12:])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    parser.add_argument("--paths", help="names of paths, separated by commas; default: all")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    there, missing = offered()
    for name, reason in missing.items():
        print(f"{name}: left out, {reason}")
    wanted = options.paths.split(",") if options.paths else there
    if unknown := [name for name in wanted if name not in PATHS]:
        raise SystemExit(f"expected paths among {', '.join(PATHS)}, got {', '.join(unknown)}")
    notebooks = [
        str(path)
        for name in options.notebooks
        for path in paths_of([name])
        if path.parent == SOLUTIONS or not name.isdigit()
    ] or ["notebooks/solutions"]
    worst = 0
    for name in (name for name in wanted if name in there):
        settings = " ".join(f"{key}={value}" for key, value in PATHS[name].items())
        passed, failed, seconds = run_path(name, notebooks, options.jobs)
        print(
            f"{name} ({settings or 'as it is'}): {passed} cells and claims passed, "
            f"{len(failed)} failed, {seconds:.0f} s",
            flush=True,
        )
        for cell, reason in failed:
            print(f"    {cell}\n{reason}", flush=True)
        worst = max(worst, bool(failed))
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
