"""Warnings of talkative loggers do not reach a notebook; errors do, and levels come back."""

import logging

import pytest

from rlhf_lib.quiet import quiet


def test_warnings_are_held_back_and_errors_are_not(caplog):
    logger = logging.getLogger("torchao.some.part")
    with caplog.at_level(logging.INFO), quiet():
        logger.warning("no CUDA library")
        logger.error("broken")
    assert [record.message for record in caplog.records] == ["broken"]


def test_a_logger_can_be_named(caplog):
    with caplog.at_level(logging.INFO), quiet("some.library"):
        logging.getLogger("some.library").info("hello")
        logging.getLogger("another.library").info("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_levels_come_back_after_an_error():
    logger = logging.getLogger("some.library")
    logger.setLevel(logging.DEBUG)
    with pytest.raises(RuntimeError), quiet("some.library"):
        raise RuntimeError
    assert logger.level == logging.DEBUG
