"""Checks of notebook 03."""

from __future__ import annotations

import torch

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
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
        p, margin = integer(2, 7, case), 0.1 * (case % 3)
        A = randn(p, p, seed=case)
        H = A + A.T + (12.0 if case % 4 == 0 else 0.0) * torch.eye(p)
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


RUNS = {
    "A": ("s", "A has no slope, and a direction that curves downwards: no minimum."),
    "B": ("m", "B has no slope and curves upwards everywhere. A large eigenvalue does no harm."),
    "C": ("n", "C has a slope: whatever its eigenvalues are, it is not at rest."),
    "D": ("?", "D's smallest eigenvalue is zero to rounding: x⁴ and −x⁴ look alike there."),
}


@exercise("03.ended")
def ended(answer):
    """ "smn?": where the runs A to D have ended."""
    joined = "".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    given = joined.lower().replace(",", "").replace(" ", "")
    require(
        len(given) == 4 and set(given) <= set("msn?"),
        'Answer with four signs out of m, s, n and ?, for A, B, C and D, such as "msn?".',
    )
    for sign, (right, hint) in zip(given, RUNS.values(), strict=True):
        require(sign == right, hint)
    return correct("First the gradient, then the signs of the eigenvalues, if they have any.")


@exercise("03.cubic")
def cubic(answer):
    """A function (g, H, gamma) -> d where g'd + d'Hd/2 + gamma |d|^3 / 3 is least."""
    for case in range(8):
        p, gamma = integer(3, 6, case), uniform(0.3, 3.0, case + 20)
        Q, _ = torch.linalg.qr(randn(p, p, seed=case))
        h = torch.linspace(-1.0 if case % 4 else 0.5, 2.0, p)
        H = Q @ h.diag() @ Q.T
        part = randn(p, seed=case + 40)
        hard = case in (2, 5, 7)
        if hard:  # no gradient along the smallest eigenvalue, and little of it elsewhere
            part = 0.3 / gamma * part / part.norm()
            part[0] = 0.0
        g = Q @ part
        d = call(answer, g, H, gamma)
        wrong_kind = f"Expected a tensor of shape ({p},) as the step, got {type(d).__name__}."
        require(isinstance(d, torch.Tensor) or hasattr(d, "__array__"), wrong_kind)
        d = torch.as_tensor(d).detach()
        require(d.shape == (p,), f"Expected a step of shape ({p},), got {tuple(d.shape)}.")
        require(bool(d.isfinite().all()), "The step holds NaN or an infinity.")
        length = float(d.norm())
        mu = gamma * length
        slope = float((g + H @ d + mu * d).norm())
        where = " (This is the hard case: g has no part along h_min.)" if hard else ""
        require(
            float((g + H @ d).norm()) > 1e-6 or mu < 1e-6,
            "That is the undamped Newton step: the cubic term of (4) is missing.",
        )
        require(
            mu > -float(h[0]) - 1e-6,
            f"With μ = γ‖d‖ = {mu:.3g} an eigenvalue of H + μI is negative, {float(h[0]) + mu:.2g}: "
            f"there (4) is not least.{where}",
        )
        require(
            slope < 1e-6 * (1 + float(g.norm())),
            f"At your d the gradient of (4) is not zero, but {slope:.2g}: is μ equal to γ‖d‖?{where}",
        )
    return correct("A damped step that finds its own μ, and leaves the saddle in the hard case.")


@exercise("03.experiment")
def experiment(answer):
    """(eta, a, b): from beside a sharp minimum to one of the flattest, in 400 steps."""
    eta, a, b = (float(x) for x in parts(answer, "(eta, a, b)"))
    require(eta > 0, "The step size is a positive number.")
    require((a * b - 1) ** 2 / 2 < 0.01, f"At the start the loss is {(a * b - 1) ** 2 / 2:.2g}.")
    require(
        a * a + b * b > 6, f"At the start a² + b² is {a * a + b * b:.3g}: take a sharper minimum."
    )
    start = a * a + b * b
    for _ in range(400):
        error = a * b - 1
        a, b = a - eta * error * b, b - eta * error * a
        require(
            abs(a) + abs(b) < 1e6, f"With η = {eta:g} the run flies away, from minimum to infinity."
        )
    loss, sharpness = (a * b - 1) ** 2 / 2, a * a + b * b
    require(loss < 1e-12, f"After 400 steps the loss is {loss:.2g}: the run has not come to rest.")
    require(
        sharpness < 2.2,
        f"It rests at a² + b² = {sharpness:.3g}, and 2/η is {2 / eta:.3g}"
        + (": the minimum at the start held it." if sharpness > 0.9 * start else "."),
    )
    return correct("Sharp minima throw gradient descent out; the loss alone would not have told.")
