"""The planted faults of tools/mutations.py: each still fits, and the table has all of them."""

from pathlib import Path

import pytest

from tools.mutations import BEGIN, END, FAULTS, TABLE, planted

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_changes_one_place_of_a_file_that_stays_valid(fault):
    text = (ROOT / fault.path).read_text(encoding="utf-8")
    changed = planted(fault, text)
    assert changed != text
    compile(changed, fault.path, "exec")
    for test in fault.tests.split():
        assert (ROOT / test).is_file()


def test_names_are_different():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_table_has_every_fault_and_all_were_caught():
    table = TABLE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert "survived" not in table
    for fault in FAULTS:
        assert f"| {fault.name} | `{fault.file}.py` | `test_" in table
