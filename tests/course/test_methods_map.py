"""The map of second-order methods names notebooks that there are."""

from rlhf_course.panels.methods_map import METHODS, methods_map
from rlhf_course.series import BY_NUMBER


def test_each_method_stands_once_with_its_source_and_its_notebook():
    names = [name for name, *_ in METHODS]
    assert len(set(names)) == len(names) == len(methods_map().frame)
    for _, instead, beside, source, notebook in METHODS:
        assert instead and beside and source[-4:].isdigit()
        assert notebook in BY_NUMBER or notebook == ""
    assert (methods_map().frame["notebook"] == "not here").sum() == 4
