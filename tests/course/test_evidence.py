"""Recorded studies: a small run of each gives what is recorded; recording can be interrupted."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from rlhf_course import studies
from rlhf_course.recorded import NotRecorded, key, recorded, results
from rlhf_course.studies import Question, Study, least
from rlhf_course.studies.tuning import Axis, Search, Tuned
from rlhf_course.verdicts import Comparison, verdict
from tools import evidence

pytestmark = pytest.mark.long

LONG = ("nb12_reviews", "nb13_tasks", "nb14_smaller", "nb16_head", "nb16_untuned", "nb17_reviews")
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
    runs = study.asked(recorded(f"{name}.json"))
    assert len({key(settings) for settings in runs}) == len(runs) > 0
    assert [json.loads(key(settings)) for settings in runs] == runs
    assert study.small is None or study.small in runs


@pytest.mark.parametrize("name", studies.names())
def test_no_row_meets_another_that_it_must_not(name):
    study = studies.study(name)
    assert study.rows or not study.tunes, "say by `rows` which rows a run draws"
    try:
        found = list(studies.overlaps(study, recorded(f"{name}.json")))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert not found, f"{len(found)} overlaps, first {found[0]}"


@pytest.mark.parametrize("name", studies.names())
def test_a_record_holds_what_its_study_asks_for_in_its_order(name):
    done = evidence.finished(name)
    asked = studies.study(name).asked(recorded(f"{name}.json"))
    assert list(done) == [key(settings) for settings in asked]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in SMALL]
)
def test_a_small_run_gives_what_is_recorded(name):
    study = studies.study(name)
    recorded = evidence.finished(name).get(key(study.small))
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
def recorder(monkeypatch, tmp_path):
    """Records a study into a folder, one run after the other: recorder(study)."""

    def take(study):
        monkeypatch.setattr(studies, "names", lambda: ["nb99_squares"])
        monkeypatch.setattr(studies, "study", lambda name: study)

    monkeypatch.setattr(evidence, "RECORDED", tmp_path)
    threads = torch.get_num_threads()
    yield take
    torch.set_num_threads(threads)


@pytest.fixture
def squares(recorder):
    """A study that squares, and fails at `fails` of its settings."""
    asked = []

    def run(settings):
        asked.append(settings["n"])
        if settings["n"] == state["fails"]:
            raise state["error"]("interrupted")
        return {"square": settings["n"] ** 2}

    state = {"fails": None, "asked": asked}
    recorder(Study(about="Squares.", runs=lambda: [{"n": n} for n in (3, 1, 2)], run=run))
    return state


@pytest.fixture
def tuned(recorder):
    """A study that tries the values of `losses` with seed 9 and judges the best with 0 and 1."""
    state = SimpleNamespace(losses={1: 3.0, 2: 1.0, 3: 2.0}, asked=[])

    def run(settings):
        state.asked.append((settings["value"], settings["seed"]))
        return {"loss": state.losses[settings["value"]]}

    state.study = Study(
        about="Two phases.",
        runs=lambda: [{"value": value, "seed": 9} for value in state.losses],
        run=run,
        choose=lambda tried: least(tried, lambda s: "all", lambda r: r["result"]["loss"])["all"],
        judge=lambda chosen: [{"value": chosen, "seed": seed} for seed in (0, 1)],
    )
    recorder(state.study)
    return state


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evidence.py", *arguments])
    evidence.main()


@pytest.mark.parametrize(
    "error, code, kept", [(ArithmeticError, "1 failed", [3, 2]), (KeyboardInterrupt, 130, [3])]
)
def test_a_study_that_fails_or_is_interrupted_goes_on_where_it_was(
    squares, monkeypatch, tmp_path, capsys, error, code, kept
):
    squares |= {"fails": 1, "error": error}
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, "nb99_squares")
    assert str(code) in str(ended.value)
    said = capsys.readouterr().out
    assert ('FAILED {"n": 1}: ArithmeticError' in said) == (error is ArithmeticError)
    path = tmp_path / "nb99_squares.json"
    runs = json.loads(path.read_text())["runs"]
    assert [run["settings"]["n"] for run in runs] == kept
    squares["fails"] = None
    squares["asked"].clear()
    call(monkeypatch, "nb99_squares")
    assert squares["asked"] == [n for n in (3, 1, 2) if n not in kept]
    document = json.loads(path.read_text())
    assert [run["result"]["square"] for run in document["runs"]] == [9, 1, 4]
    assert {"command", "device", "date", "version", "study"} <= document.keys()
    assert not list(tmp_path.glob(".*.part"))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(SystemExit, match=r"is damaged .*--again"):
        call(monkeypatch, "nb99_squares")


POOL = """
import os, signal, sys, time
from pathlib import Path
from rlhf_course import studies
from tools import evidence

folder = Path(__file__).parent
studies.__path__.append(str(folder))
evidence.RECORDED = folder
if __name__ == "__main__":
    evidence.main()
"""
STUDY = """
import os, time
from pathlib import Path
from rlhf_course.studies import Study

def run(settings):
    if settings["n"] == 0:  # neither command is done before the other has begun
        folder = Path(__file__).parent
        (folder / f"{os.getpid()}.begun").touch()
        while len(list(folder.glob("*.begun"))) < 2:
            time.sleep(0.05)
    if settings["n"] == 1:
        raise ArithmeticError("one")
    if settings["n"] == 9:
        time.sleep(600)
    return {"square": settings["n"] ** 2}

STUDY = Study(about="Squares.", runs=lambda: [{"n": n} for n in range(10)], run=run)
"""


def test_two_commands_with_real_workers_lose_nothing_and_end_when_interrupted(tmp_path):
    (tmp_path / "study.py").write_text(POOL)
    (tmp_path / "nb98_squares.py").write_text(STUDY)
    commands = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "study.py"), "nb98_squares", "--jobs", jobs],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for jobs in ("1", "2")
    ]
    path = tmp_path / "nb98_squares.json"
    said = ["", ""]
    for i, command in enumerate(commands):
        while '{"n": 8}' not in said[i]:  # all but the one that takes ten minutes
            said[i] += command.stdout.readline()
        command.send_signal(signal.SIGINT)
    for i, command in enumerate(commands):
        said[i] += command.stdout.read()  # communicate() would lose what readline() read ahead
        assert command.wait(timeout=60) == 130
        assert 'FAILED {"n": 1}: ArithmeticError: one' in said[i] and "interrupted" in said[i]
    runs = json.loads(path.read_text())["runs"]
    assert [run["settings"]["n"] for run in runs] == [0, 2, 3, 4, 5, 6, 7, 8]


def test_list_runs_nothing_and_again_runs_all(squares, monkeypatch, tmp_path, capsys):
    call(monkeypatch, "nb99_squares", "--list")
    assert squares["asked"] == [] and not list(tmp_path.iterdir())
    assert "nb99_squares: Squares.\n  0 recorded, 3 to run\n" in capsys.readouterr().out
    call(monkeypatch)
    call(monkeypatch)
    assert squares["asked"] == [3, 1, 2]
    call(monkeypatch, "nb99_squares", "--again")
    assert squares["asked"] == [3, 1, 2, 3, 1, 2]


def test_only_takes_the_runs_with_these_settings(squares, monkeypatch, tmp_path):
    call(monkeypatch, "nb99_squares", "--only", '"n": 1')
    assert squares["asked"] == [1]


def test_what_judges_follows_from_what_was_tuned(tuned, monkeypatch, tmp_path, capsys):
    call(monkeypatch, "nb99_squares", "--list")
    said = capsys.readouterr().out
    assert "tuning: 0 recorded, 3 to run\n" in said and "judging: not known before" in said
    call(monkeypatch, "nb99_squares")
    assert tuned.asked == [(1, 9), (2, 9), (3, 9), (2, 0), (2, 1)]
    said = capsys.readouterr().out
    assert "tuning: 0 recorded, 3 to run\n" in said and "judging: 0 recorded, 2 to run\n" in said
    call(monkeypatch, "nb99_squares", "--list")
    assert "judging: 2 recorded, 0 to run\n" in capsys.readouterr().out
    document = json.loads((tmp_path / "nb99_squares.json").read_text())
    assert tuned.study.chosen(document) == 2


def test_nothing_is_chosen_by_a_part_of_what_tunes(tuned, monkeypatch, tmp_path, capsys):
    call(monkeypatch, "nb99_squares", "--only", '"value": 1')
    assert tuned.asked == [(1, 9)]
    assert "judging: not known before all that tunes is recorded" in capsys.readouterr().out
    document = json.loads((tmp_path / "nb99_squares.json").read_text())
    with pytest.raises(NotRecorded, match=r'"value": 2.*nor of 1 more'):
        tuned.study.chosen(document)
    call(monkeypatch, "nb99_squares")
    assert tuned.asked[1:] == [(2, 9), (3, 9), (2, 0), (2, 1)]


def test_a_better_value_is_judged_anew_and_the_old_runs_go(tuned, monkeypatch, tmp_path):
    def kept():
        runs = json.loads((tmp_path / "nb99_squares.json").read_text())["runs"]
        return [(run["settings"]["value"], run["settings"]["seed"]) for run in runs]

    call(monkeypatch, "nb99_squares")
    tuned.losses |= {4: 0.5, 5: 9.0}
    tuned.asked.clear()
    call(monkeypatch, "nb99_squares", "--only", '"value": 4')
    # Nobody knows yet whether value 2 stays the best: what judged it is kept.
    assert tuned.asked == [(4, 9)]
    assert kept() == [(1, 9), (2, 9), (3, 9), (4, 9), (2, 0), (2, 1)]
    call(monkeypatch, "nb99_squares")
    assert tuned.asked[1:] == [(5, 9), (4, 0), (4, 1)]
    assert kept() == [(1, 9), (2, 9), (3, 9), (4, 9), (5, 9), (4, 0), (4, 1)]


def test_seeds_come_in_batches_until_the_question_is_decided(
    recorder, monkeypatch, capsys, tmp_path
):
    benefits, asked, fails = [0.3, -0.4, 0.5, 0.2, 0.31, 0.29, 0.3, 0.3], [], []

    def run(settings):
        asked.append(settings["seed"])
        if settings["seed"] in fails:
            raise ArithmeticError("no run")
        return {"benefit": benefits[settings["seed"]]}

    def compare(document, seeds):
        found = results(document, [{"seed": seed} for seed in seeds])
        return [Comparison("better", tuple(r["benefit"] for r in found), "nats")]

    study = Study(
        about="Looks.",
        runs=lambda: [{"seed": seed} for seed in range(8)],
        run=run,
        looks=(2, 4, 8),
        questions=(Question("a claim", compare),),
    )
    recorder(study)
    fails.append(3)
    with pytest.raises(SystemExit, match="1 failed"):
        call(monkeypatch, "nb99_squares")
    said = capsys.readouterr().out  # without seed 3 there is no second look, and no seed 4
    assert asked == [0, 1, 2, 3] and "the next look is after 4 of at most 8" in said
    fails.clear()
    asked.clear()
    call(monkeypatch, "nb99_squares")
    said = capsys.readouterr().out
    assert asked == [3, 4, 5, 6, 7]
    assert "after 4 seeds: a claim: not enough data" in said
    document = json.loads((tmp_path / "nb99_squares.json").read_text())
    assert [look["seeds"] for look in document["looks"]] == [2, 4, 8]
    (last,) = study.compared(document, "a claim")
    assert last.looks == (2, 4, 8) and len(last.benefits) == 8
    assert document["looks"][-1]["a claim"] == verdict([last])
    assert ("of at most 8 seeds: decided" in said) == (verdict([last]) != "not enough data")
    benefits[:] = [0.3, 0.3001, 0.31, 0.2999, *[9.0] * 4]
    asked.clear()
    call(monkeypatch, "nb99_squares", "--again")
    assert (
        asked == [0, 1] and "ended after 2 of at most 8 seeds: decided" in capsys.readouterr().out
    )
    # All seeds are judged on the same few items: the second look sees it again and ends it.
    benefits[:] = [0.3, 0.1, 0.2, 0.1, 0.2, 0.3, 0.1, 0.2]
    items = replace(
        study,
        questions=(
            Question("few", lambda d, s: [replace(compare(d, s)[0], by_item=(2.0, -2.0, 0.5))]),
        ),
    )
    recorder(items)
    asked.clear()
    call(monkeypatch, "nb99_squares", "--again")
    assert asked == [0, 1, 2, 3] and "4 of at most 8 seeds: no number" in capsys.readouterr().out
    with pytest.raises(ValueError, match="expected 8 seeds"):
        replace(study, runs=lambda: [{"seed": 0}]).judging({"runs": []})


def test_what_a_search_asks_for_is_run_portion_by_portion(recorder, monkeypatch):
    tuned = Tuned({"method": "a"}, {"value": Axis(1.0, 10.0)}, lambda r: r["loss"])
    asked = []

    def run(settings):
        asked.append(settings["value"])
        return {"loss": abs(math.log10(settings["value"]) - 2.0)}

    study = Study(
        about="A search.",
        run=run,
        search=Search({"a": tuned}, seeds=(9,), tries=1),
        judge=lambda chosen: [chosen["a"] | {"seed": 0}],
    )
    recorder(study)
    call(monkeypatch, "nb99_squares")
    assert asked == [1.0, 0.1, 10.0, 100.0, 1000.0, 100.0]  # beyond the best one, then it judges
    call(monkeypatch, "nb99_squares")
    assert len(asked) == 6


def test_the_least_is_summed_over_seeds_and_never_of_a_run_that_diverged():
    losses = {("a", 1): [2.0, 2.0], ("a", 2): [1.0, 2.5], ("a", 3): [0.1, None], ("b", 1): [9.0]}
    tried = [
        {"settings": {"method": method, "value": value, "seed": seed}, "result": loss}
        for (method, value), found in losses.items()
        for seed, loss in enumerate(found)
    ]

    def best(tried):
        return least(tried, lambda s: s["method"], lambda run: run["result"])

    assert best(tried) == {"a": 2, "b": 1}
    assert best(tried[::-1]) == {"a": 2, "b": 1}
    equal = [{"settings": {"method": "a", "value": v}, "result": 1.0} for v in (3, 1, 2)]
    assert best(equal) == {"a": 3}
    with pytest.raises(ValueError, match="no value of c can be chosen"):
        best([{"settings": {"method": "c", "value": 1}, "result": math.nan}])


def test_a_rule_without_runs_to_judge_it_is_refused():
    with pytest.raises(ValueError, match="judge with choose or a search"):
        Study(about="Half.", runs=list, run=dict, choose=len)
    with pytest.raises(ValueError, match="two phases"):
        Study(about="One phase.", runs=list, run=dict).chosen({"runs": []})


def test_a_file_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv(studies.DATA_VARIABLE, "no/such/folder")
    with pytest.raises(FileNotFoundError, match=r"reads sst2\.csv.*--data FOLDER"):
        studies.data_file("sst2.csv")
    with pytest.raises(ValueError, match=r"expected one of the studies nb.*nb17_.*, got"):
        studies.study("nb98_none")
