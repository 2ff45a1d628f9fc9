"""Figures that stand side by side get the same margins, so that their areas are aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def align(figures: Sequence[Any]) -> None:
    """Give all figures that have a margin and one height the largest of their margins."""
    framed = [figure for figure in figures if hasattr(figure, "margin")]
    for figure in framed:
        figure.fit_legend()
    for height in {figure.widget.axes["height"] for figure in framed}:
        alike = [figure for figure in framed if figure.widget.axes["height"] == height]
        margins = [figure.margin for figure in alike]
        common = {side: max(margin[side] for margin in margins) for side in "lrtb"}
        for figure in alike:
            figure.margin = common
