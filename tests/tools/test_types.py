"""What a type checker says of a user's program: it reads the annotations of the library."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

pytest.importorskip("pyrefly")
ROOT = Path(__file__).resolve().parents[2]
GIVEN = """
from collections.abc import Callable
from typing import Any
import torch
from rlhf_lib import RLHFOptimizer, text

def program(
    model: torch.nn.Module,
    task: text.Task,
    held_out: Any,
    loader: list[tuple[torch.Tensor, torch.Tensor]],
    micro_batches: list[torch.Tensor],
    batches: list[dict[str, torch.Tensor]],
    loss_fn: Callable[[Any], tuple[torch.Tensor, torch.Tensor]],
):
"""


@pytest.fixture
def errors(tmp_path):
    """A function that gives the errors in some lines outside of the checkout."""

    def check(lines):
        (tmp_path / "pyrefly.toml").write_text(f'preset = "default"\nsearch-path = ["{ROOT}"]\n')
        (tmp_path / "program.py").write_text(GIVEN + indent(lines, "    "))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pyrefly", "check", "--output-format", "min-text"),
                *("--config", "pyrefly.toml", "--python-interpreter-path", sys.executable),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        found = [line for line in done.stdout.splitlines() if line.startswith("ERROR")]
        assert done.returncode == bool(found), done.stdout + done.stderr
        return found

    return check


def test_the_readme_s_programs_have_no_type_errors(errors):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 4
    assert errors("\n".join(blocks)) == []


def test_a_wrong_argument_and_a_wrong_attribute_are_found(errors):
    wrong = (
        'optimizer = RLHFOptimizer(model.parameters(), lr="fast")\n'
        "loss: str = optimizer.step(loss_fn)\n"
        "task.trained().values()\n"
    )
    kinds = [re.findall(r"\[([a-z-]+)\]$", line)[0] for line in errors(wrong)]
    assert kinds == ["bad-argument-type", "bad-assignment", "missing-attribute"]
