"""What is solved: kept once, shown, and no harm where the file is lost, damaged or forbidden."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlhf_course import SERIES, check, progress
from rlhf_course.checking.progress import data_file, load, note


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RLHF_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def states(*arguments):
    return {name: when is not None for _, name, when in progress(*arguments).rows}


def test_tests_and_notebooks_do_not_touch_the_user_s_file():
    # conftest.py sets it for the whole run, kernels included.
    assert Path(os.environ["RLHF_DATA_DIR"]).name.startswith("rlhf-progress-")


def test_without_the_variable_it_is_the_user_s_data_folder(monkeypatch):
    monkeypatch.delenv("RLHF_DATA_DIR")
    path = data_file()
    assert path.name == "progress.json" and path.parent.name == "rlhf-lib"


def test_a_solved_exercise_is_kept_with_its_first_time(folder):
    assert not states()["00.same_rest"] and not folder.exists()
    check("00.same_rest", "AC")
    check("00.same_rest", ...)
    assert not folder.exists()

    check("00.same_rest", "AB")
    assert states()["00.same_rest"] and sum(states().values()) == 1
    first, _ = load()
    text = (folder / "progress.json").read_text()
    check("00.same_rest", "AB")
    check("00.same_rest", "AC")
    assert (folder / "progress.json").read_text() == text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first["00.same_rest"])
    assert set(os.listdir(folder)) == {"progress.json", ".progress.json.lock"}  # no part stays


def test_the_table_as_text_and_as_accessible_html(folder):
    note("00.same_rest")
    table = progress("00")
    assert repr(table).startswith("1 of 5 exercises solved.\n")
    assert "00 Start here  ■□□□□  1 of 5  open: 00." in repr(table)
    assert "00.same_rest" not in repr(table)
    page = table._repr_html_()
    assert "<caption>1 of 5 exercises solved.</caption>" in page
    assert page.count('scope="row"') == 1 and 'value="1" max="5"' in page
    whole = progress()
    assert re.search(r"00 Start here +■□□□□  1 of 5  last on \d{4}-\d\d-\d\d\n", repr(whole))
    assert (
        whole._repr_html_().count("<tr>")
        == len({row[0] for row in whole.rows})
        == len(repr(whole).splitlines()) - 2
    )
    assert set(states("00")) < set(states())


def test_a_planned_notebook_has_no_exercises_and_an_unknown_one_is_an_error(folder):
    with pytest.raises(ValueError, match=r"00, 01.*, got '99'"):
        progress("99")
    assert set(progress().rows) == {row for n in SERIES for row in progress(n.number).rows}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"solved": 3}',
        b'{"solved": {"00.same_rest": 5}}',
        b"\xff\xfe\x00",
        b'{"solved": {"00.same_rest": "yesterday"}}',
        b'{"version": 1}',
        b'{"solved": {}, "predictions": [1]}',
        b"[" * 100_000,
        b"\0" * 40,
    ],
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(folder, damage):
    folder.mkdir()
    (folder / "progress.json").write_bytes(damage)
    table = progress()
    assert "damaged" in table.summary and "progress.json.bak" in table._repr_html_()
    assert (folder / "progress.json.bak").read_bytes() == damage
    assert "damaged" not in progress().summary
    (folder / "progress.json").write_bytes(damage)
    assert "bak1" in check("00.same_rest", "AB").message  # neither is lost
    assert (folder / "progress.json.bak1").read_bytes() == damage
    assert states()["00.same_rest"]


def test_a_lost_file_means_nothing_solved(folder):
    note("00.same_rest")
    (folder / "progress.json").unlink()
    assert not any(states().values())


def test_where_nothing_can_be_kept_a_check_works_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLHF_DATA_DIR", str(tmp_path / "file"))
    feedback = check("00.same_rest", "AB")
    assert feedback and "could not be kept" in feedback.message
    table = progress()
    assert not any(when for *_, when in table.rows) and "could not be read" in table.summary


@pytest.mark.parametrize("kind", ["a folder", "another version"])
def test_what_cannot_be_read_is_left_alone(folder, kind):
    folder.mkdir()
    path = folder / "progress.json"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_text('{"version": 2, "solved": {}}')
    assert "could not be kept" in note("00.same_rest")
    assert "could not be read" in progress().summary
    assert path.is_dir() or path.read_text() == '{"version": 2, "solved": {}}'


def test_notes_of_several_at_once_are_all_kept(folder):
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(note, [f"00.{i}" for i in range(60)]))
    assert len(load()[0]) == 60


def test_an_exercise_that_is_gone_is_kept_but_not_shown(folder):
    note("00.of_old")
    assert "00.of_old" not in states() and "00.of_old" in load()[0]
    check("00.same_rest", "AB")
    assert set(json.loads(data_file().read_text())["solved"]) == {"00.of_old", "00.same_rest"}


def test_checks_of_other_notebooks_and_widgets_are_imported_only_when_asked_for():
    code = (
        "import sys, rlhf_course as course; course.check('00.same_rest', 'AB'); "
        "assert 'rlhf_course.checks.nb10' not in sys.modules; "
        "assert not {'ipywidgets', 'plotly', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
