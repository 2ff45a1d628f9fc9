"""python -m benchmarks [PART ...]: what is measured, drawn and written; all without a name."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from . import (
    HERE,
    RESULTS,
    linearized,
    operations,
    plots,
    products,
    report,
    sparse,
    tables,
    training,
)

PARTS = ("products", "operations", "training", "linearized", "sparse", "plots", "table")
FAST = HERE.parent / "build" / "benchmarks-fast"


def main(argv: list[str] | None = None) -> int:
    """Measure what was asked for and write it to the folder of results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--fast", action="store_true", help="tiny problems, to try the harness")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, help="rounds of products (default 3)")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory processes")
    parser.add_argument("--out", type=Path, help="where to write (default: the course's records)")
    args = parser.parse_args(argv)
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"expected parts out of {', '.join(PARTS)}, got {', '.join(unknown)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this torch sees no GPU")
    if args.rounds is not None and args.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {args.rounds}")
    parts = args.parts or PARTS
    folder = args.out or (FAST if args.fast else RESULTS)
    if "products" in parts:
        print("products: three quarters of an hour on two cores; other load spoils the numbers")
        name = "products.json" if args.device == "cpu" else f"products-{args.device}.json"
        measured = products.run(
            device=args.device, fast=args.fast, rounds=args.rounds, memory=not args.no_memory
        )
        report.write(measured, folder / name)
    if "operations" in parts and args.device == "cpu":
        print("operations:")
        name = "tiny-bert" if args.fast else "bert"
        report.write(operations.run(name), folder / "operations.json")
    if "training" in parts and args.device == "cpu":
        print("training:")
        report.write(training.run(fast=args.fast), folder / report.TRAINING)
    if "linearized" in parts and args.device == "cpu":
        print("linearized:")
        measured = linearized.run(fast=args.fast)
        report.write(measured, folder / "linearized.json")
        print(tables.linearized(measured))
    if "sparse" in parts and args.device == "cpu":
        print("sparse:")
        measured = sparse.run(fast=args.fast, rounds=args.rounds)
        report.write(measured, folder / "sparse.json")
        print(sparse.table(measured))
    if "plots" in parts:
        found, trained = report.read(folder)
        for results in found:
            suffix = "" if results["device"] == "cpu" else f"-{results['device']}"
            plots.products(results, folder / f"products{suffix}.svg")
        if trained is not None:
            plots.training(trained, folder / "training.svg")
    if "table" in parts:
        if folder != RESULTS:
            print(report.block(folder))
        elif not report.rewrite():
            print(
                f"benchmarks/README.md has no markers {report.BEGIN} and {report.END}: only "
                "results/tables.md was written"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
