"""Checks of notebook 03."""

from __future__ import annotations

import torch

from .feedback import almost, attempted, correct, exercise


@exercise("03.least_damping")
def least_damping(answer):
    """The least mu that keeps H + mu I positive definite from (1.5, 0.2) on."""
    mu = float(answer)
    least = 1 - 3 * 0.2**2
    if mu <= least + 1e-9:
        return almost(
            f"With μ = {mu:g} the bar of the y direction is not above zero at the start "
            f"(3·0.2² − 1 + μ = {mu - least:.2g}): the step does not start downhill."
        )
    if mu > least + 0.025:
        return almost("That is safe, but so is a smaller μ: the eigenvalue is well above 0.")
    return correct("Just above 1 − 3y² every direction curves upwards: the step starts downhill.")


@exercise("03.safe_damping")
def safe_damping(answer):
    """A function (H, margin) -> least mu >= 0 with eigenvalues of H + mu I at least margin."""
    generator = torch.Generator().manual_seed(0)
    for case in range(20):
        A = torch.randn(4, 4, generator=generator, dtype=torch.float64)
        H = A + A.T + (8.0 if case % 4 == 0 else 0.0) * torch.eye(4, dtype=A.dtype)
        margin = 0.1 * (case % 3)
        kept = H.clone()
        mu = float(attempted(answer(H, margin)))
        if not torch.equal(H, kept):
            return almost("Your function changed H in place; compute μ without writing into it.")
        eigenvalues = torch.linalg.eigvalsh(H)
        smallest = float(eigenvalues[0])
        expected = max(0.0, margin - smallest)
        if abs(mu - expected) < 1e-6:
            continue
        if mu < 0:
            return almost("μ must not be negative: where H is safe already, μ = 0 will do.")
        if abs(mu + smallest) < 1e-6 and margin:
            return almost("The margin is missing: the smallest eigenvalue should be margin, not 0.")
        if abs(mu - max(0.0, margin - float(H.diagonal().min()))) < 1e-6:
            return almost("The diagonal is not the spectrum: use torch.linalg.eigvalsh(H).")
        if abs(mu - max(0.0, margin + float(eigenvalues.abs().max()))) < 1e-6:
            return almost("Safe, but not the least: only the smallest eigenvalue matters.")
        if mu < expected:
            return almost(
                f"H + μI still has the eigenvalue {smallest + mu:.3g}, below the margin {margin:g}."
            )
        return almost(f"Safe, but not the least μ: {expected:.3g} would do, you gave {mu:.3g}.")
    return correct("H + μI has the eigenvalues of H, each moved up by μ; the smallest one decides.")
