"""Checks of notebook 03."""

from __future__ import annotations

import torch

from ..checking.expect import call, expect, randn
from ..checking.feedback import correct, require
from ..checking.goals import goal
from ..checking.registry import exercise

STEP = 0.02  # of the panel's slider of μ


@goal("03.escape", x=1.5, y=0.2)
def escape(records, values):
    """From (1.5, 0.2), the least mu with every eigenvalue of H + mu I positive on the way."""
    mu, end = values["damping"], records[-1].theta.tolist()
    smallest = min(float(r.extra["eigenvalues"].min() + r.damping) for r in records)
    least = 1 - 3 * 0.2**2
    require(
        abs(end[1]) > 0.01,
        f"With μ = {mu:g} the run ends at the saddle: the bar of the y direction was not above "
        "zero at the start, and the first step went uphill along y.",
    )
    require(
        smallest > 1e-9,
        f"A minimum, but by luck: with μ = {mu:g} the smallest eigenvalue of H + μI met on the "
        f"way was {smallest:.2g}, so a step started uphill along y.",
    )
    require(abs(abs(end[1]) - 1) < 0.01, "It is on the way, but not yet in a minimum: less μ.")
    require(
        mu < least + STEP + 1e-9,
        f"Safe, but so is a smaller μ: the smallest eigenvalue on the way was {smallest:.2g}.",
    )
    return correct("Just above 1 − 3y² every direction curves upwards: the step starts downhill.")


@exercise("03.safe_damping")
def safe_damping(answer):
    """A function (H, margin) -> least mu >= 0 with eigenvalues of H + mu I at least margin."""
    for case in range(20):
        A, margin = randn(4, 4, seed=case), 0.1 * (case % 3)
        H = A + A.T + (8.0 if case % 4 == 0 else 0.0) * torch.eye(4)
        eigenvalues = torch.linalg.eigvalsh(H)
        least, largest = float(eigenvalues[0]), float(eigenvalues.abs().max())
        expect(
            call(answer, H, margin),
            max(0.0, margin - least),
            {
                "μ must not be negative: where H is safe already, μ = 0 will do.": margin - least
                if least > margin
                else None,
                "The margin is missing: the smallest eigenvalue should be margin, not 0.": max(
                    0.0, -least
                ),
                "The diagonal is not the spectrum: use torch.linalg.eigvalsh(H).": max(
                    0.0, margin - float(H.diagonal().min())
                ),
                "Safe, but not the least: only the smallest eigenvalue matters.": margin + largest,
                "It is the smallest eigenvalue that is too low, not the largest.": max(
                    0.0, margin - float(eigenvalues[-1])
                ),
            },
            f"Wanted here is a smallest eigenvalue of {margin:g}; that of H is {least:.3g}.",
            what="μ",
        )
    return correct("H + μI has the eigenvalues of H, each moved up by μ; the smallest one decides.")
