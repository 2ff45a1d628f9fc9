"""One JupyterLab and one Chromium for the folder, one page and one kernel for each test."""

import pytest
from lab import CHROMIUM_FLAGS, ROOT, Lab, Notebook
from playwright.sync_api import sync_playwright

from rlhf_course.doctor import find_chromium

ARTEFACTS = ROOT / "tests" / "artefacts"


@pytest.fixture(scope="package")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


# Not for the whole session: while Playwright runs, nothing else can use asyncio.
@pytest.fixture(scope="package")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def artefacts():
    """Folder of the screenshots."""
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS


@pytest.fixture
def open_notebook(request, lab, chromium, artefacts):
    """`open_notebook("00_start_here.ipynb")`, once a test; ends its kernel afterwards.

    After each test: no error in the console, no request to anything but the server.
    """
    context = chromium.new_context(viewport={"width": 1500, "height": 1100})
    opened = []

    def open_one(name):
        opened.append(Notebook(lab, context.new_page(), name))
        return opened[-1]

    try:
        yield open_one
        for notebook in opened:
            assert notebook.noise == []
            assert notebook.outside() == []
    finally:
        if request.node.stash.get(FAILED, False):
            for page in context.pages:
                page.screenshot(path=artefacts / f"failed-{request.node.name}.png")
        context.close()
        lab.end_kernels()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        if "lab" in getattr(item, "funcargs", {}):
            report.sections.append(("JupyterLab's log", item.funcargs["lab"].log()))
    return report
