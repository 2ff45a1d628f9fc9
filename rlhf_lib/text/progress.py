"""A line of tqdm for what takes long: a step of a large model, a Gram matrix, a search."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from tqdm.auto import tqdm

from ..interrupt import followed

_WITHIN = ("path", "part", "product", "micro-batch")


@contextmanager
def progress(delay: float = 2.0) -> Generator[None]:
    """Say how far the library's computations are, once this block has taken `delay` seconds.

        with text.progress():
            found = select_lambda(fit, ...)

    The line, such as "path 3 of 15, product 7 of 10, micro-batch 2 of 4", is on stderr, or a widget
    in a notebook, and goes when the block ends. A solver may end before its last product.
    """
    told: dict[str, str] = {}
    with tqdm(delay=delay, leave=False, miniters=1, bar_format="{desc} [{elapsed}]") as line:

        def report(what: str, number: int, total: int) -> None:
            for inner in _WITHIN[_WITHIN.index(what) + 1 :]:
                told.pop(inner, None)
            told[what] = f"{what} {number} of {total}"
            line.set_description_str(
                ", ".join(told[name] for name in _WITHIN if name in told), refresh=False
            )
            line.update()

        with followed(report):
            yield
