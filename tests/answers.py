"""Answers to exercises, for tests: the notebooks' own solutions and stubs, and made-up panels."""

import ast
from dataclasses import dataclass, field, replace
from functools import cache
from types import SimpleNamespace

import nbformat
import torch

from rlhf_course.series import BY_NUMBER
from tools.course_build import SOLUTIONS
from tools.exercise_cells import checks_in, has_solution, split


@dataclass
class Shown:
    """What a goal's check sees of a panel after a run with these records and values."""

    records: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    status: str = "Finished: 3 records in 0.1 s."
    ended: bool = True

    def wait(self, timeout=None):
        return self.ended


def stopped(shown):
    """The same panel after a run that was stopped, which no goal counts."""
    return replace(shown, status="Stopped after 1 record.")


def record(**fields):
    """A stand-in for a Record with these fields alone."""
    return SimpleNamespace(**fields)


@cache
def notebook(number):
    return nbformat.read(SOLUTIONS / f"{BY_NUMBER[number].name}.ipynb", as_version=4)


def written_answer(name, solved=True):
    """What the notebook's own cell hands to check(name, ...): its solution, or its stub.

    The cell runs by itself, after the imports of the cells before it; new tensors are float64. So
    this raises NameError for a solution that uses more than that, such as the notebook's panel.
    """
    imports = []
    for cell in notebook(name.split(".")[0]).cells:
        if cell.cell_type != "code":
            continue
        if has_solution(cell) and name in checks_in(cell):
            stub, solution = split(cell.source)
            return _handed_in(name, imports, solution if solved else stub)
        imports += [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
    raise LookupError(f"no cell with '# --- solution' checks {name}")


def _handed_in(name, imports, source):
    answers = {}
    namespace = {}
    exec(compile(ast.Module(imports, []), "imports", "exec"), namespace)
    namespace["check"] = answers.__setitem__
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        exec(compile(source, name, "exec"), namespace)
    finally:
        torch.set_default_dtype(dtype)
    return answers[name]
