"""Pictures for stored outputs: plotly's JSON, drawn by kaleido, side by side, as a small PNG.

kaleido draws in a Chromium; where there is none, `draw` says so and the notebook is not saved.
"""

import asyncio
import base64
import os

from rlhf_course.doctor import CHROMIUM_CURE, find_chromium
from rlhf_lib.panels.saving import side_by_side
from rlhf_lib.panels.show import FIGURES_MIME

WIDTH, SCALE = 500, 1.25
MAX_BYTES = 60_000


def put_pictures(notebook):
    """Replaces, in place, the figures of all outputs by pictures; returns how many it drew.

    Raises RuntimeError without a Chromium, and ValueError for a picture that is too large.
    """
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if FIGURES_MIME in output.get("data", {})
    ]
    figures = [output.data.pop(FIGURES_MIME) for output in outputs]
    if not outputs:
        return 0
    if find_chromium() is None:
        raise RuntimeError(f"Pictures are drawn by a Chromium, and none was found. {CHROMIUM_CURE}")
    drawn = iter(asyncio.run(_draw([figure for group in figures for figure in group])))
    for output, group in zip(outputs, figures, strict=True):
        picture = side_by_side([next(drawn) for _ in group])
        if len(picture) > MAX_BYTES:
            raise ValueError(
                f"a picture of {len(picture):,} bytes; {MAX_BYTES:,} are the most: "
                f"{output.data.get('text/plain', '')[:80]}"
            )
        output.data["image/png"] = base64.b64encode(picture).decode()
    return len(outputs)


async def _draw(figures):
    """A PNG of each figure; one browser for all."""
    import kaleido

    options = {"path": find_chromium(), "headless": True}
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options["enable_sandbox"] = False
    made = []
    async with kaleido.Kaleido(n=1, timeout=300, **options) as browser:
        for figure in figures:
            layout = figure["layout"] | {"paper_bgcolor": "#ffffff", "width": WIDTH}
            made.append(
                await browser.calc_fig(
                    {"data": figure["data"], "layout": layout},
                    opts={
                        "format": "png",
                        "scale": SCALE,
                        "width": WIDTH,
                        "height": layout["height"],
                    },
                )
            )
    return made
