"""Hooks for every test of the project, notebooks included; hence at the root."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

# The tests use what is embedded; a look at the hub would only cost time and hide a dependency.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent
NOTEBOOKS = ROOT / "notebooks"
NO_BROWSER = pytest.StashKey[str]()


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also run the tests marked slow")


def pytest_configure(config):
    # What tests and notebooks solve is no progress of the user's, and theirs must not be shown.
    folder = tempfile.TemporaryDirectory(prefix="rlhf-progress-")
    os.environ["RLHF_DATA_DIR"] = folder.name
    config.add_cleanup(folder.cleanup)
    os.environ["RLHF_SEED"] = "0"  # exercises draw fresh cases each time; tests do not
    if config.pluginmanager.hasplugin("nbval"):
        # Before pytest puts the root on the path by the `pythonpath` of pyproject.toml.
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        from tools import nbval_hooks

        nbval_hooks.install()


def pytest_ignore_collect(collection_path, config):
    # Each notebook is executed once, in the form with solutions; the learner's form is made from
    # it (tools/course_build.py). One that is named on the command line is executed all the same.
    if collection_path.suffix == ".ipynb" and collection_path.parent == NOTEBOOKS:
        named = {Path(argument.split("::")[0]).resolve() for argument in config.args}
        if not config.option.full and collection_path not in named:
            return True


# Last, so that what -m leaves out is not counted as skipped.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if not config.option.full and "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    # Long files first, so that no worker is left with one at the end: notebooks from the last,
    # which train real models, then what is marked so. The order within a file stays.
    cells = [item for item in items if item.path.suffix == ".ipynb"]
    cells.sort(key=lambda item: item.path.name, reverse=True)
    others = [item for item in items if item.path.suffix != ".ipynb"]
    others.sort(key=lambda item: item.get_closest_marker("long") is None)
    items[:] = cells + others
    browser = [item for item in items if item.get_closest_marker("browser")]
    if not browser:
        return
    from rlhf_course.doctor import CHROMIUM_CURE, find_chromium

    if find_chromium() is None:
        if os.environ.get("RLHF_REQUIRE_BROWSER") == "1":
            raise pytest.UsageError(f"Browser tests are required. {CHROMIUM_CURE}")
        for item in browser:
            item.add_marker(pytest.mark.skip(reason="no Chromium"))
        config.stash[NO_BROWSER] = (
            f"{len(browser)} browser tests SKIPPED, no Chromium found. {CHROMIUM_CURE}"
        )


def pytest_terminal_summary(terminalreporter, config):
    skipped = config.stash.get(NO_BROWSER, "")
    if skipped:
        terminalreporter.write_line(skipped, yellow=True)
