"""The examples in docstrings run and give what they show."""

import doctest
import importlib
import pkgutil
import re

import pytest
import torch

import rlhf_course
import rlhf_lib
from tools import docs

MODULES = [
    module.name
    for package in (rlhf_lib, rlhf_course)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


def examples(name):
    """The docstrings of a module that have examples."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        test for test in finder.find(module, globs=vars(module) | {"torch": torch}) if test.examples
    ]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for test in examples(name):
            said = []
            runner.run(test, out=said.append)
            assert not said, "".join(said)


def test_there_are_examples():
    assert sum(len(examples(name)) for name in MODULES) >= 12


@pytest.mark.slow
def test_the_api_site_is_built_offline_without_a_warning(tmp_path):
    docs.main(tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "rlhf_lib.html", "rlhf_lib/step.html", "rlhf_course.html"} <= names
    page = (tmp_path / "rlhf_lib" / "solve.html").read_text()
    assert "Hestenes and Stiefel (1952)" in page
    # Nothing is loaded from elsewhere; a link to pdoc's home page is no request.
    assert not re.search(r"(?:src=|url\(|<link[^>]+href=)[\"']?https?:", page)
