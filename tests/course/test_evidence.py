"""Recorded studies: a small run of each gives what is recorded; recording can be interrupted."""

import json
import math
import sys

import pytest
import torch

from rlhf_course import studies
from rlhf_course.studies import Study
from tools import evidence

pytestmark = pytest.mark.long

# Other processors round otherwise, and a run of an optimizer carries that on.
RTOL, ATOL = 2e-2, 2e-3
SMALL = [name for name in studies.names() if studies.study(name).small is not None]


def differences(stored, new, where=""):
    """Places where two results are not the same, numbers up to the tolerance."""
    if isinstance(stored, dict) and isinstance(new, dict) and stored.keys() == new.keys():
        return [d for k in stored for d in differences(stored[k], new[k], f"{where}.{k}")]
    if isinstance(stored, list) and isinstance(new, list) and len(stored) == len(new):
        pairs = enumerate(zip(stored, new, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}[{i}]")]
    if isinstance(stored, float) and isinstance(new, float | int):
        same = math.isclose(stored, new, rel_tol=RTOL, abs_tol=ATOL)
    else:
        same = stored == new
    return [] if same else [f"{where}: {stored!r} is recorded, {new!r} came"]


@pytest.mark.parametrize("name", studies.names())
def test_the_settings_of_a_study_are_plain_and_different(name):
    study = studies.study(name)
    runs = [evidence.key(settings) for settings in study.runs()]
    assert len(set(runs)) == len(runs) > 0
    assert [json.loads(run) for run in runs] == list(study.runs())
    assert study.small is None or evidence.key(study.small) in runs


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_gives_what_is_recorded(name):
    study = studies.study(name)
    recorded = evidence.finished(name).get(evidence.key(study.small))
    if recorded is None:
        pytest.skip(f"{name} is not recorded yet")
    threads = torch.get_num_threads()
    try:
        new = json.loads(json.dumps(evidence.one(name, study.small)))
    finally:
        torch.set_num_threads(threads)
    assert differences(recorded["result"], new["result"]) == []


def test_the_comparison_sees_another_number_a_missing_one_and_another_word():
    stored = {"loss": [1.0, 0.5], "reason": "converged", "products": 3}
    assert differences(stored, {"loss": [1.001, 0.5], "reason": "converged", "products": 3}) == []
    for other in (
        {"loss": [1.1, 0.5], "reason": "converged", "products": 3},
        {"loss": [1.0], "reason": "converged", "products": 3},
        {"loss": [1.0, 0.5], "reason": "max_iter", "products": 3},
        {"loss": [1.0, 0.5], "reason": "converged", "products": 4},
        {"loss": [1.0, 0.5], "reason": "converged"},
    ):
        assert differences(stored, other)


@pytest.fixture
def squares(monkeypatch, tmp_path):
    """A study that squares, and fails at `stop` of its settings; it records into a folder."""

    class Workers:
        """In place of a pool: runs in this process, one after the other."""

        def __init__(self, jobs, mp_context):
            self.jobs = jobs

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def submit(self, function, *arguments):
            future = evidence.concurrent.futures.Future()
            try:
                future.set_result(function(*arguments))
            except ArithmeticError as error:
                future.set_exception(error)
            return future

    asked = []

    def run(settings):
        asked.append(settings["n"])
        if settings["n"] == state["fails"]:
            raise ArithmeticError("interrupted")
        return {"square": settings["n"] ** 2}

    state = {"fails": None, "asked": asked}
    study = Study(about="Squares.", runs=lambda: [{"n": n} for n in (3, 1, 2)], run=run)
    monkeypatch.setattr(studies, "names", lambda: ["nb99_squares"])
    monkeypatch.setattr(studies, "study", lambda name: study)
    monkeypatch.setattr(evidence, "RECORDED", tmp_path)
    monkeypatch.setattr(evidence.concurrent.futures, "ProcessPoolExecutor", Workers)
    monkeypatch.setattr(evidence.concurrent.futures, "as_completed", lambda waiting: list(waiting))
    return state


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evidence.py", *arguments])
    evidence.main()


def test_an_interrupted_study_goes_on_where_it_was(squares, monkeypatch, tmp_path, capsys):
    squares["fails"] = 2
    with pytest.raises(ArithmeticError):
        call(monkeypatch, "nb99_squares")
    path = tmp_path / "nb99_squares.json"
    kept = json.loads(path.read_text())["runs"]
    assert [run["settings"]["n"] for run in kept] == [3, 1]
    squares["fails"] = None
    squares["asked"].clear()
    call(monkeypatch, "nb99_squares")
    assert squares["asked"] == [2]
    document = json.loads(path.read_text())
    assert [run["result"]["square"] for run in document["runs"]] == [9, 1, 4]
    assert {"command", "device", "date", "version", "study"} <= document.keys()
    assert not list(tmp_path.glob("*.part"))
    assert "2 recorded, 1 to run" in capsys.readouterr().out


def test_list_runs_nothing_and_again_runs_all(squares, monkeypatch, tmp_path, capsys):
    call(monkeypatch, "nb99_squares", "--list")
    assert squares["asked"] == [] and not list(tmp_path.iterdir())
    assert "nb99_squares: 0 recorded, 3 to run. Squares." in capsys.readouterr().out
    call(monkeypatch)
    call(monkeypatch)
    assert squares["asked"] == [3, 1, 2]
    call(monkeypatch, "nb99_squares", "--again")
    assert squares["asked"] == [3, 1, 2, 3, 1, 2]


def test_only_takes_the_runs_with_these_settings(squares, monkeypatch, tmp_path):
    call(monkeypatch, "nb99_squares", "--only", '"n": 1')
    assert squares["asked"] == [1]


def test_a_file_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv(studies.DATA_VARIABLE, "no/such/folder")
    with pytest.raises(FileNotFoundError, match=r"reads sst2\.csv.*--data FOLDER"):
        studies.data_file("sst2.csv")
    with pytest.raises(ValueError, match="expected one of the studies nb10_sst2"):
        studies.study("nb98_none")
