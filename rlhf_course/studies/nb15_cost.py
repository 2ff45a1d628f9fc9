"""Seconds and peak memory of BERTs of many sizes: some to calibrate the cost model, others to test.

Random weights: they change no cost. Each run times every pass, and a gradient with five iterations
of conjugate gradients, on one thread; fresh processes show the peak memory.
"""

from __future__ import annotations

from typing import Any

from ..cost.model import Transformer
from . import Study

CG_PRODUCTS = 5
PEAKS = ("gradient", "Gv", "cg Hv")

# (H, L, h, F), B, T. The first four give the machine's constants; no other does.
CALIBRATION = (
    ((128, 2, 2, 512), 8, 32),
    ((128, 2, 2, 512), 16, 128),
    ((384, 6, 12, 1536), 4, 16),
    ((384, 6, 12, 1536), 16, 32),
)
HELD_OUT = (
    ((64, 2, 2, 256), 16, 32),
    ((128, 2, 2, 512), 64, 64),
    ((192, 3, 6, 768), 8, 64),
    ((256, 4, 4, 1024), 16, 16),
    ((256, 4, 4, 1024), 8, 64),
    ((384, 6, 12, 1536), 2, 128),
    ((384, 6, 12, 1536), 8, 64),
    ((384, 6, 12, 1536), 32, 32),
    ((384, 6, 12, 1536), 4, 256),
    ((512, 4, 8, 2048), 8, 32),
    ((768, 2, 12, 3072), 4, 32),
)


def runs():
    for calibrates, cases in ((True, CALIBRATION), (False, HELD_OUT)):
        for sizes, batch, tokens in cases:
            yield {"sizes": list(sizes), "batch": batch, "tokens": tokens, "calibrates": calibrates}


def run(settings: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds by pass, and peak bytes by pass."""
    from ..cost import measured as costs

    shape = Transformer(*settings["sizes"])
    case = shape, settings["batch"], settings["tokens"]
    seconds = costs.seconds(*case, cg_products=CG_PRODUCTS)
    return {
        "parameters": shape.parameters,
        "seconds": {name: float(f"{s:.4g}") for name, s in seconds.items()},
        "peaks": {what: costs.peak_bytes(*case, what) for what in PEAKS},
    }


STUDY = Study(
    about="Seconds and peak memory of BERTs by size, tokens and batch, to test the cost model.",
    runs=runs,
    run=run,
)
