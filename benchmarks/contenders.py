"""The register of who is measured: one short function per library and quantity.

To add one, decorate a function:

    @contender("Gv", "my library", package="my-library")
    def _(problem):
        operator = my_library.Operator(problem.module, ...)    # timed as the set-up
        return lambda v: operator @ v                          # timed as one product

For "solve" the function takes (problem, b, shift) and returns x with (G + shift I) x = b. What it
needs is imported inside it, so that a library that is missing fails alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

QUANTITIES = ("gradient", "Hv", "Gv", "solve")
RTOL = 1e-4


@dataclass(frozen=True)
class Contender:
    """A library's way to one quantity.

    Attributes:
        quantity: one of QUANTITIES. name: for tables. package: on the package index; None for
        this library and for torch.
        make: of "gradient", "Hv" and "Gv": (problem) -> what to call for a gradient, or with a
            flat v for a product, which comes back flat or as a list like the parameters.
            Of "solve": (problem, b, shift) -> x.
    """

    quantity: str
    name: str
    package: str | None
    make: Callable


CONTENDERS: list[Contender] = []


def contender(quantity: str, name: str, package: str | None = None) -> Callable:
    """Decorator that enters a function into CONTENDERS."""
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: expected one of {QUANTITIES}, got {quantity!r}")

    def enter(make: Callable) -> Callable:
        CONTENDERS.append(Contender(quantity, name, package, make))
        return make

    return enter


def find(quantity: str, name: str) -> Contender:
    """The contender of that quantity and name."""
    for c in CONTENDERS:
        if (c.quantity, c.name) == (quantity, name):
            return c
    raise ValueError(f"expected a contender for {quantity!r}, got {name!r}")
