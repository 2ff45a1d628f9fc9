"""The examples in docstrings run and give what they show."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import rlhf_course
import rlhf_lib

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
