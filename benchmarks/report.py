"""Results to files, and files to the tables of benchmarks/README.md and results/tables.md."""

from __future__ import annotations

import json
from pathlib import Path

from . import HERE, RESULTS, tables

README = HERE / "README.md"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
PRODUCTS = ("products.json", "products-cuda.json")
TRAINING = "training.json"


def write(results: dict, path: Path) -> None:
    """A result file: one number a line would be long, so lists of numbers stay on theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_compact(results) + "\n")


def _compact(value, indent: str = "") -> str:
    """JSON with lists of plain values on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(k)}: {_compact(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        lines = [inner + _compact(v, inner) for v in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def read(folder: Path = RESULTS) -> tuple[list[dict], dict | None]:
    """(results of products, CPU before GPU, and those of training) as far as they are there."""
    products = [json.loads((folder / n).read_text()) for n in PRODUCTS if (folder / n).exists()]
    path = folder / TRAINING
    return products, json.loads(path.read_text()) if path.exists() else None


def block(folder: Path = RESULTS) -> str:
    """What stands between README's markers, markers included."""
    return f"{BEGIN}\n{tables.summary(*read(folder))}\n{END}"


def between_markers(text: str) -> str | None:
    """README's present block with its markers, or None without markers."""
    if BEGIN not in text or END not in text:
        return None
    return text[text.index(BEGIN) : text.index(END) + len(END)]


def rewrite(readme: Path = README, folder: Path = RESULTS) -> bool:
    """Write tables.md and README's block; False where README has no markers."""
    if not any(read(folder)):
        raise FileNotFoundError(
            "no results to make tables of: run `python -m benchmarks products` or `training` first"
        )
    (folder / "tables.md").write_text(tables.full(*read(folder)))
    text = readme.read_text()
    old = between_markers(text)
    if old is None:
        return False
    readme.write_text(text.replace(old, block(folder)))
    return True
