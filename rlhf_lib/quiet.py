"""Keep other packages' logging out of a notebook while they are imported or used."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

# torchao reports each CUDA library that a CPU build of torch cannot load, and torch its enums;
# transformers imports torchao wherever it is installed.
_TALKATIVE = ("torchao", "torch.utils._pytree")


@contextmanager
def quiet(*names: str) -> Generator[None]:
    """Errors only from these loggers, and those of torchao; their levels come back afterwards."""
    loggers = [logging.getLogger(name) for name in (*_TALKATIVE, *names)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
