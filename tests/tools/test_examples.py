"""The worked examples run as a reader runs them, on little."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.mark.parametrize(
    "script, options, told",
    [
        ("pinn.py", ["--steps=3", "--seeds=1"], "median: RLHF"),
        ("trainer_on_a_csv.py", ["--model=tiny-random", "--epochs=1"], "eval_accuracy"),
        pytest.param("trainer_on_a_csv.py", [], "positive 0.", marks=pytest.mark.slow),
    ],
)
def test_an_example_runs_to_its_end(script, options, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, *options])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert told in capsys.readouterr().out
