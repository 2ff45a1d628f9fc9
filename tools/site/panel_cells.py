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


def make_panels(path, ids):
    """({id: panel} of these cells, the names beside them): the statements they rest on are run.

    Raises ValueError where a cell's last line is no panel, and whatever a statement raises.
    """
    panels, names, here = {}, {"__name__": "__main__"}, Path.cwd()
    os.chdir(path.parent)
    torch.set_default_dtype(torch.float32)  # a notebook before may have had another
    try:
        for statement, shows in program(path, ids):
            if shows is None:
                exec(compile(ast.Module([statement], []), str(path), "exec"), names)
                continue
            panel = eval(compile(ast.Expression(statement.value), str(path), "eval"), names)
            if not isinstance(panel, Panel):
                raise ValueError(f"{path.name}, cell {shows}: expected a panel, got {panel!r}")
            panel.show_first()
            panels[shows] = panel
    finally:
        os.chdir(here)
    return panels, names


def program(path, ids):
    """The statements on which the last lines of these cells rest, in their order, each with the id
    of the cell that it ends, or None.

    A statement counts where it binds a name that a later one reads; a call that changes an object
    and binds nothing does not, and a test holds each panel against what its cell has stored.
    """
    statements = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            parts = ast.parse(cell.source).body
            ends = [None] * len(parts)
            if cell.id in ids:
                ends[-1] = cell.id
            statements += zip(parts, ends, strict=True)
    kept, needed = [], set()
    for statement, shows in reversed(statements):
        if shows or (kept and (_bound(statement) & needed or _sets(statement))):
            kept.append((statement, shows))
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
