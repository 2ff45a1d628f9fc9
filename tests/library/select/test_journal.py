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


DAMAGE = {
    "another_digit": b'{"n": 7, "crc32": 1}',
    "cut": b'{"n": ',
    "nul": b"\0\0\0\0",
    "nul_in_text": b'{"n": 1\0}',
    "bytes": b'\xff\xfe{"n": 2}',
    "list": b"[1]",
    "null": b"null",
    "text": b'"n"',
    "two_in_one": b'{"n": 1}{"n": 2}',
    "deep": b"[" * 100_000,
    "empty": b"",
    "refused": b'{"n": "one"}',
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_numbered_and_set_aside_and_the_rest_is_used(tmp_path, damage):
    path = written(tmp_path / "a.jsonl", {"n": 1}, {"n": 2}, {"n": 3})
    lines = path.read_bytes().split(b"\n")
    lines[2] = damage
    path.write_bytes(b"\n".join(lines))
    asked = (path, SETTINGS, lambda row: isinstance(row["n"], int))
    with pytest.warns(UserWarning, match=r"line 3 is damaged.*a.jsonl.damaged"):
        assert Journal(*asked).rows == [{"n": 1}, {"n": 3}]
    assert (tmp_path / "a.jsonl.damaged").read_bytes() == damage + b"\n"
    journal = Journal(*asked)
    journal.write({"n": 4})
    assert Journal(*asked).rows == [{"n": 1}, {"n": 3}, {"n": 4}]


def test_writing_goes_on_after_another_process_was_killed_in_its_line(tmp_path):
    path = written(tmp_path / "a.jsonl", {"n": 1})
    journal = Journal(path, SETTINGS)
    with path.open("ab") as file:
        file.write(b'{"n": 2')
    journal.write({"n": 3})
    with pytest.warns(UserWarning, match="line 3"):
        assert Journal(path, SETTINGS).rows == [{"n": 1}, {"n": 3}]


def test_what_cannot_be_a_journal_is_refused_before_any_result(tmp_path):
    with pytest.raises(OSError, match="got a folder"):
        Journal(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="settings: expected JSON values"):
        Journal(tmp_path / "a", {"x": object()})
    (tmp_path / "b").write_text('{"format": "rlhf_lib journal 2"}\n')
    with pytest.raises(ValueError, match=r"got 'rlhf_lib journal 2' in .*another version"):
        Journal(tmp_path / "b", SETTINGS)
    settings = {"x": float("nan")}
    Journal(tmp_path / "c", settings).write({"n": 1})
    assert Journal(tmp_path / "c", settings).rows == [{"n": 1}]


def test_none_keeps_nothing():
    journal = Journal(None, SETTINGS)
    journal.write({"n": 1})
    assert journal.rows == []
