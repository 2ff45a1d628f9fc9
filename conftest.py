"""Hooks for every test of the project, notebooks included; hence at the root.

nbval compares outputs as exact text. Floating-point numbers differ in their last digits between
processors, so a new number that agrees with the stored one is replaced by it before nbval looks.
"""

import math
import os
import re
import tempfile

import pytest

from rlhf_lib.doctor import CHROMIUM_CURE, find_chromium

# The tests use what is embedded; a look at the hub would only cost time and hide a dependency.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

NO_BROWSER = pytest.StashKey[int]()
RTOL, ATOL = 1e-3, 1e-6
# No part of a name, a version or a date: 1.2.3 and v0.5 stay text.
NUMBER = re.compile(r"(?<![\w.])([-+−]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\d|\.\d)")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also run the tests marked slow")


def pytest_configure(config):
    # What tests and notebooks solve is no progress of the user's, and theirs must not be shown.
    folder = tempfile.TemporaryDirectory(prefix="rlhf-progress-")
    os.environ["RLHF_DATA_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)
    if config.pluginmanager.hasplugin("nbval"):
        _compare_numbers_with_tolerance()


def pytest_ignore_collect(collection_path, config):
    # Executing every notebook twice would take minutes: each solution is tested by itself, and
    # its notebook as a whole with --full.
    if collection_path.name == "solutions" and not config.option.full:
        return True


# Last, so that what -m leaves out is not counted as skipped.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if not config.option.full and "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    browser = [item for item in items if item.get_closest_marker("browser")]
    if browser and find_chromium() is None:
        if os.environ.get("RLHF_REQUIRE_BROWSER") == "1":
            raise pytest.UsageError(f"Browser tests are required. {CHROMIUM_CURE}")
        for item in browser:
            item.add_marker(pytest.mark.skip(reason="no Chromium"))
        config.stash[NO_BROWSER] = len(browser)


def pytest_terminal_summary(terminalreporter, config):
    skipped = config.stash.get(NO_BROWSER, 0)
    if skipped:
        terminalreporter.write_line(
            f"{skipped} browser tests SKIPPED, no Chromium found. {CHROMIUM_CURE}", yellow=True)


def _agree(stored, new):
    """Whether two numbers, as text, are one: integers exactly, others within the tolerance."""
    if re.fullmatch(r"\D?\d+", stored) or re.fullmatch(r"\D?\d+", new):
        return stored == new
    a, b = (float(number.replace("−", "-")) for number in (stored, new))
    return math.isclose(a, b, rel_tol=RTOL, abs_tol=ATOL)


def _with_stored_numbers(stored, new):
    """`new` with each number that agrees replaced by the stored one; as it is where words differ.

    The count of blanks between the words is the stored one too: a column's width follows its
    numbers.
    """
    old_parts, new_parts = NUMBER.split(stored), NUMBER.split(new)
    words = [[re.sub(" +", " ", word) for word in parts[::2]] for parts in (old_parts, new_parts)]
    if words[0] != words[1]:
        return new
    new_parts[::2] = old_parts[::2]
    new_parts[1::2] = [a if _agree(a, b) else b
                       for a, b in zip(old_parts[1::2], new_parts[1::2], strict=True)]
    return "".join(new_parts)


def _texts(outputs):
    """`(kind, holder, key)` of every text in the outputs of a cell."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield output["name"], output, "text"
        for mime, value in output.get("data", {}).items():
            if mime.startswith("text/") and isinstance(value, str):
                yield mime, output["data"], mime


def _compare_numbers_with_tolerance():
    from nbval.plugin import IPyNbCell

    exact = IPyNbCell.compare_outputs

    def compare_outputs(self, test, ref, skip_compare=None):
        stored, new = list(_texts(ref)), list(_texts(test))
        if [kind for kind, *_ in stored] == [kind for kind, *_ in new]:
            for (_, old, key), (_, output, _) in zip(stored, new, strict=True):
                output[key] = _with_stored_numbers(old[key], output[key])
        return exact(self, test, ref, skip_compare)

    IPyNbCell.compare_outputs = compare_outputs
