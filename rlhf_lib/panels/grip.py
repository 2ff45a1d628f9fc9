"""A start that a hand drags in the plot itself, where two sliders would set it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlhf_lib.panels.controls import Control, hear_drags
from rlhf_lib.panels.plot import Plot


def hear_grip(
    plot: Plot,
    pair: Sequence[Control],
    set_to: Callable[[dict[str, Any]], None],
    drag: Callable[[dict[str, Any], Callable[[], None]], None],
    released: Callable[[Any], None],
) -> None:
    """Give the plot a grip at its start. While it is dragged, `set_to(values)` moves the sliders of
    the `pair`, and `drag(values, answer)` draws; `released(change)` is told when it is let go."""
    plot.grip = True

    def placed(at: Sequence[float]) -> dict[str, Any]:
        """The sliders' nearest values, which they show as well."""
        values = {}
        for control, v in zip(pair, at, strict=True):
            nearest = min(control.widget.stops, key=lambda stop: abs(stop - v))
            values[control.name] = control.check(nearest)
        set_to(values)
        return values

    def rest(change: Any) -> None:
        placed(change["new"][1:])
        released(change)

    hear_drags(
        plot,
        lambda content: content["rest"] < plot.rest[0],
        lambda at, answer: drag(placed(at), answer),
    )
    plot.observe(rest, names="rest")
