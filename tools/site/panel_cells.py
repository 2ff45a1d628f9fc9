"""The panels of a notebook, made by the statements that they need and no others."""

import ast
import os
from pathlib import Path

import nbformat
import torch

from rlhf_lib.panels import Panel

SOLUTIONS = Path(__file__).resolve().parents[2] / "notebooks" / "solutions"


def panel_cells(path):
    """The code cells of a notebook that end in a panel, by what they show: {id: stored text}."""
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", ()):
            text = output.get("data", {}).get("text/plain", "")
            if text.startswith("Panel: "):
                found[cell.id] = text
    return found


def make_panel(path, cell_id):
    """The panel that this cell shows, and the names beside it: the statements that it rests on run.

    Raises ValueError where the cell's last line is no panel, and whatever a statement raises.
    """
    source = program(path, cell_id)
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        names = {"__name__": "__main__"}
        *statements, last = source
        torch.set_default_dtype(torch.float32)  # a panel before may have had another
        exec(compile(ast.Module(statements, []), str(path), "exec"), names)
        panel = eval(compile(ast.Expression(last.value), str(path), "eval"), names)
    finally:
        os.chdir(here)
    if not isinstance(panel, Panel):
        raise ValueError(f"{path.name}, cell {cell_id}: expected a panel, got {panel!r}")
    return panel, names


def program(path, cell_id):
    """The statements of a notebook on which the last line of a cell rests, in their order.

    A statement counts where it binds a name that a later one reads; a call that changes an object
    and binds nothing does not, and a test holds each panel against what its cell has stored.
    """
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    until = next(i for i, cell in enumerate(cells) if cell.id == cell_id)
    statements = [part for cell in cells[: until + 1] for part in ast.parse(cell.source).body]
    kept = [statements[-1]]
    needed = _read(statements[-1])
    for statement in reversed(statements[:-1]):
        if _bound(statement) & needed or _sets(statement):
            kept.append(statement)
            needed |= _read(statement)
    return kept[::-1]


def _sets(statement):
    """Whether it is a call for its effect on all that follows, as torch.manual_seed(0) is."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).startswith("torch.")


def _read(tree):
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def _bound(tree):
    """The names that a statement binds, or of which it sets an entry or an attribute."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            if isinstance(node, ast.Name):
                found.add(node.id)
    return found
