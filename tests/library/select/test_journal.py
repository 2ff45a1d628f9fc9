"""Results kept on disk: read back as they were, half lines cut off, other settings refused."""

import pytest

from rlhf_lib.select import Journal

SETTINGS = {"folds": 5, "lambdas": [0.1, 1 / 3]}


def written(path, *rows):
    journal = Journal(path, SETTINGS)
    for row in rows:
        journal.write(row)
    return path


def test_rows_come_back_bit_for_bit(tmp_path):
    rows = [{"score": [1 / 3, 1e-300]}, {"score": [float("inf"), 0.1 + 0.2]}]
    path = written(tmp_path / "a.jsonl", *rows)
    assert Journal(path, SETTINGS).rows == rows
    assert path.read_text().count("\n") == 3


def test_a_half_written_last_line_is_cut_off_and_writing_goes_on(tmp_path):
    path = written(tmp_path / "a.jsonl", {"n": 1}, {"n": 2})
    path.write_bytes(path.read_bytes()[:-3])
    journal = Journal(path, SETTINGS)
    assert journal.rows == [{"n": 1}]
    journal.write({"n": 3})
    assert Journal(path, SETTINGS).rows == [{"n": 1}, {"n": 3}]


def test_a_half_written_header_begins_again(tmp_path):
    path = written(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes()[:-4])
    Journal(path, SETTINGS).write({"n": 1})
    assert Journal(path, SETTINGS).rows == [{"n": 1}]


def test_other_settings_are_refused_by_name_and_the_file_stays(tmp_path):
    path = written(tmp_path / "a.jsonl", {"n": 1})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"folds is 5 there and 6 here") as caught:
        Journal(path, SETTINGS | {"folds": 6})
    assert "lambdas" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["a thesis", "a thesis\nof two lines\n", "[1]\n", "{}\n"])
def test_somebody_elses_file_is_not_overwritten(tmp_path, content):
    path = tmp_path / "thesis.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match="not a journal"):
        Journal(path, SETTINGS)
    assert path.read_text() == content


def test_a_broken_line_in_the_middle_is_refused(tmp_path):
    path = written(tmp_path / "a.jsonl", {"n": 1}, {"n": 2})
    path.write_text(path.read_text().replace('{"n": 1}', '{"n": '))
    with pytest.raises(ValueError, match="not a journal"):
        Journal(path, SETTINGS)


def test_none_keeps_nothing():
    journal = Journal(None, SETTINGS)
    journal.write({"n": 1})
    assert journal.rows == []
