"""README's day of a practitioner, run line by line as it stands there."""

import re
from pathlib import Path

import pytest

from rlhf_lib import text

README = Path(__file__).resolve().parents[2] / "README.md"
GOOD, BAD = ("a joy", "good fun", "what joy", "so good"), ("it broke", "no good", "never", "a bore")


@pytest.fixture(params=["tiny-random", pytest.param("minilm", marks=pytest.mark.slow)])
def folder(request, tmp_path, monkeypatch):
    """The working folder with the CSV files; the model is a tiny one, or the embedded one."""
    for name, count in (("reviews", 8), ("test", 3)):
        rows = [
            f"{words} {'abcdefgh'[i]},{label}"
            for i in range(count)
            for label, part in (("praise", GOOD), ("complaint", BAD))
            for words in part
        ]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(rows))
    monkeypatch.chdir(tmp_path)
    load = text.load_model
    if request.param != "minilm":
        options = {"name": request.param, "pooling": "mean"}
        monkeypatch.setattr(
            text, "load_model", lambda task, **given: load(task, **options, **given)
        )
    return tmp_path


def test_a_practitioners_day(folder, capsys):
    section = README.read_text().split("## From a CSV to a saved model in use")[1].split("\n## ")[0]
    programs = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(programs) == 2
    for program in programs:
        exec(program, names := {})
    printed = capsys.readouterr().out
    assert names["task"].label_names == ("complaint", "praise")
    assert names["task"].assess(names["task"].encode(names["test"]))["accuracy"] > 0.7
    assert names["classify"]("a joy")[0]["label"] == names["task"].predict(["a joy"])[0].label
    assert "praise" in printed
