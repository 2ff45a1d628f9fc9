"""Pictures of what a page shows, for the notebook that its reader saves.

A saved output names widgets of a kernel; without the kernel JupyterLab shows an error in their
place. So the page is asked for a picture of each figure when a run has ended, and the picture is
kept in the folder RLHF_PICTURES_DIR under the id of the output's widget; the server that saves the
notebook puts it in (`rlhf_course/lab.py`, which sets that variable). Without the variable
nothing is asked for.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ACROSS = 2  # pictures in a row
COLOURS = 96
GAP = 8  # pixels


def keep_pictures(widget: Any, figures: Sequence[Any]) -> None:
    """Keep what the page sends of these figures as the picture of `widget`, from now on."""
    folder = os.environ.get("RLHF_PICTURES_DIR")
    plots = [figure.widget for figure in figures if hasattr(figure.widget, "picture")]
    if not folder or not plots:
        return
    path = Path(folder) / f"{widget.model_id}.png"

    def keep(change: Any) -> None:
        sent = [plot.picture for plot in plots]
        if all(sent):
            pictures = [base64.b64decode(text.partition(",")[2]) for text in sent]
            # Never half a file: the server may be reading.
            part = path.with_suffix(".part")
            part.write_bytes(side_by_side(pictures))
            os.replace(part, path)

    for plot in plots:
        plot.observe(keep, names="picture")
    ask_for_pictures(figures)


def ask_for_pictures(figures: Sequence[Any]) -> None:
    """Ask the page for new pictures, if anybody keeps them."""
    if not os.environ.get("RLHF_PICTURES_DIR"):
        return
    for figure in figures:
        if hasattr(figure.widget, "wanted"):
            figure.widget.wanted += 1


def side_by_side(pictures: Sequence[bytes]) -> bytes:
    """PNGs in rows of two, as one PNG of few colours."""
    from PIL import Image

    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    rows = [images[i : i + ACROSS] for i in range(0, len(images), ACROSS)]
    width = max(sum(image.width for image in row) + GAP * (len(row) - 1) for row in rows)
    height = sum(max(image.height for image in row) for row in rows)
    whole, y = Image.new("RGB", (width, height), "white"), 0
    for row in rows:
        x = 0
        for image in row:
            whole.paste(image, (x, y))
            x += image.width + GAP
        y += max(image.height for image in row)
    held = io.BytesIO()
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
    return held.getvalue()
