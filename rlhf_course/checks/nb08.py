"""Checks of notebook 08."""

from __future__ import annotations

import torch

from ..checking.cases import integer, randn, uniform
from ..checking.expect import call, expect, parts
from ..checking.feedback import Wrong, correct, require
from ..checking.goals import goal
from ..checking.registry import exercise
from ..experiments.nb08_logs import FAULTS, logged

LONG = 1.9  # of the panel's goal


@goal("08.longest", a=-2.0, b=1.0)
def longest(records, values):
    """From the wall, a full step longer than 1.9 with rho of at least 3/4."""
    rho, length = records[-1].rho, records[-1].extra["length"]
    unbounded = length < 0.999 * values["radius"]
    require(
        rho >= 0.75 or not (unbounded and values["damping"] == 0),
        f"Nothing limits this step of length {length:.3g}, and ρ is only {rho:.2f}: add damping, "
        "or take a smaller radius. Armijo's c does not change the full step.",
    )
    require(
        rho >= 0.75,
        f"The step is {length:.3g} long, but ρ = {rho:.2f}: too far for this model. "
        + ("More damping." if unbounded else "A smaller radius."),
    )
    require(
        length > LONG,
        f"ρ = {rho:.2f}, so the model is right, but the step is only {length:.3g} long: it may "
        + ("go farther with less damping." if unbounded else "go farther with a larger radius."),
    )
    return correct(f"A step of length {length:.2f} with ρ = {rho:.2f}: as far as the model holds.")


@exercise("08.ratio")
def ratio(answer):
    """A function (f, theta, d, g, B) -> true over promised decrease."""

    def f(t):
        return t.pow(4).sum() / 4 + t.sin().sum()

    for case in range(3):
        n = integer(3, 8, seed=case)
        theta, d = randn(n, seed=case), 0.3 * randn(n, seed=case + 10)
        g = theta**3 + theta.cos()
        B = torch.diag(3 * theta**2) + 0.5 * torch.eye(n)
        actual = theta.pow(4).sum() / 4 + theta.sin().sum() - f(theta + d)
        slope, bend = torch.dot(g, d), (d * torch.mv(B, d)).sum()
        promised = -slope - bend / 2
        expect(
            call(answer, f, theta, d, g, B),
            actual / promised,
            {
                "Upside down: true decrease over promised decrease.": promised / actual,
                "One of the two is an increase: both are old value minus new value.": -actual
                / promised,
                "The ½ before d'Bd is missing.": actual / (-slope - bend),
                "That promise is the slope alone; the model also has ½ d'Bd.": actual / -slope,
                "The promise is −(g'd + ½ d'Bd): both terms change their sign.": actual
                / (-slope + bend / 2),
                "½ g'd is the promise only if B d = −g exactly; d is any step here.": actual
                / (-slope / 2),
                "f(θ − d)? The step leads to θ + d.": (f(theta) - f(theta - d)) / promised,
                "That is the promised decrease; ρ is the true one over it.": promised,
                "That is the true decrease; divide it by the promised one.": actual,
            },
            "See equation (4).",
            what="ρ",
        )
    return correct("1 where the model was right, below 0 where the step made things worse.")


def _histories():
    """Scripts of ρ: kept promises, failures in a row, and between them a success that is small."""
    u = iter(range(100))

    def draw(low, high):
        return round(uniform(low, high, seed=next(u)), 2)

    yield [1.0, draw(0.7, 0.95), draw(0.3, 0.45), draw(0.3, 0.45), draw(0.02, 0.2)]
    yield [
        -1.0,
        draw(-5, -1),
        draw(-1, -0.1),
        draw(0.02, 0.2),
        draw(-1, -0.1),
        draw(0.55, 0.9),
        -1.0,
    ]
    yield [0.0] * integer(1, 3) + [draw(1.2, 2), -3.0, -3.0, draw(0.02, 0.2), draw(-5, -1), -3.0]


@exercise("08.nielsen")
def nielsen(answer):
    """A function (mu, nu, rho) -> (mu, nu) by Nielsen's rule, over scripted histories of rho."""
    require(callable(answer), "Expected a function of μ, ν and ρ.")
    for history in _histories():
        expect(
            _run(_checked(answer), history),
            _run(_rule(), history),
            {
                "The floor is missing: μ falls by no more than a factor of 3.": _run(
                    _rule(floor=-1e9), history
                ),
                "ρ above ½ should lower μ: the sign before (2ρ − 1)³ is minus.": _run(
                    _rule(sign=-1), history
                ),
                "The third power is missing: (2ρ − 1)³.": _run(_rule(power=1), history),
                "ν has to go back to 2 after a success.": _run(_rule(reset=2.0), history),
                "ν goes back to 2 after every success, also after one with a small ρ.": _run(
                    _rule(reset=0.25), history
                ),
                "ν has to double at each failure in a row.": _run(_rule(growth=1), history),
                "μ is multiplied by the old ν; ν doubles afterwards.": _run(
                    _rule(early=True), history
                ),
                "After a failure μ grows by the factor ν, it does not shrink.": _run(
                    _rule(shrink=True), history
                ),
                "ρ = 0 is no success: the first case is ρ > 0 only.": _run(
                    _rule(zero=True), history
                ),
                "Those are Martens' factors, 3/2 and 2/3; equation (6) is wanted.": _run(
                    _martens, history
                ),
            },
            f"The history was ρ = {', '.join(f'{rho:g}' for rho in history)}, from μ = 1 and ν = "
            "2; the rows are (μ, ν) after each.",
            what="history of (μ, ν)",
        )
    return correct("Kept promises lower μ, failures in a row raise it ever faster.")


def _run(rule, history):
    state, rows = (1.0, 2.0), []
    for rho in history:
        state = rule(*state, rho)
        rows.append([float(value) for value in state])
    return torch.tensor(rows, dtype=torch.float64)


def _checked(answer):
    def rule(mu, nu, rho):
        return [float(value) for value in parts(call(answer, mu, nu, rho), "(μ, ν)")]

    return rule


def _rule(
    *, floor=1 / 3, sign=1, power=3, reset=0.0, growth=2, early=False, shrink=False, zero=False
):
    """Nielsen's rule; each argument breaks it in one of the ways that learners do."""

    def rule(mu, nu, rho):
        if rho > 0 or (zero and rho == 0):
            factor = 1 - sign * (2 * rho - 1) ** power
            return mu * max(floor, factor), 2.0 if rho > reset else nu
        used = nu * growth if early else nu
        return (mu / used if shrink else mu * used), nu * growth

    return rule


def _martens(mu, nu, rho):
    return mu * (1.5 if rho < 0.25 else 2 / 3 if rho > 0.75 else 1.0), nu


@exercise("08.radius")
def radius(answer):
    """A function (B, g, radius) -> the mu of the trust region's solution."""
    for case in range(6):
        n = integer(3, 8, seed=case)
        A, g = randn(n, n, seed=case), randn(n, seed=case + 10)
        B = A @ A.T / n + 0.1 * torch.eye(n)
        wanted = (0.0, 0.02, 0.3, 2.0, 20.0, 0.0)[case] * uniform(0.8, 1.2, seed=case)
        full = torch.linalg.solve(B, g).norm()
        shifted = torch.linalg.solve(B + wanted * torch.eye(n), g)
        length = float(shifted.norm()) if wanted else 1.5 * float(full)
        expect(
            call(answer, B, g, length),
            wanted,
            {
                "The undamped step is inside this radius: nothing binds, so μ = 0.": _beyond(
                    B, g, length
                )
                if wanted == 0
                else None,
                "The step with that μ has the wrong length: ‖g‖ / radius is only an upper end.": g.norm()
                / length,
                "That is μ for large μ, where B no longer counts: subtract nothing, search.": g.norm()
                / length
                - torch.linalg.eigvalsh(B).mean(),
                "That is how long the step is; wanted is the μ that makes it so.": length,
                "μ multiplies the identity once: (B + μI), not (B + μ²I).": wanted**0.5,
                "The damped matrix is B + μI; with μ times B the step would not turn.": full
                / length
                - 1,
            },
            f"The radius is {length:.4g}; the undamped step is {float(full):.4g} long.",
            what="μ",
            rtol=1e-5,
            atol=1e-7,
        )
    return correct("Every radius has its μ: a trust region is damping, told as a length.")


def _beyond(B, g, length):
    """The negative mu with ‖d(mu)‖ = length, which a search without the case mu = 0 finds."""
    low, high = -float(torch.linalg.eigvalsh(B)[0]) * (1 - 1e-12), 0.0
    for _ in range(100):
        middle = (low + high) / 2
        step = torch.linalg.solve(B + middle * torch.eye(len(g), dtype=g.dtype), g)
        low, high = (middle, high) if float(step.norm()) > length else (low, middle)
    return (low + high) / 2


@exercise("08.diagnose")
def diagnose(answer):
    """A function log -> what went wrong in this run: "kept", "turned", "mixed" or "nothing"."""
    for case, fault in enumerate(2 * ("", *FAULTS)):
        log = _log(fault, case)
        said, truth = call(answer, [dict(row) for row in log]), fault or "nothing"
        require(
            isinstance(said, str) and said.strip().lower() in (*FAULTS, "nothing"),
            'Return one of the words "kept", "turned", "mixed" and "nothing".',
        )
        said = said.strip().lower()
        if said != truth:
            k = next(k for k, row in enumerate(log) if row["rho"] <= 0)
            rows = "; then ".join(
                ", ".join(f"{key} {value:.3g}" for key, value in row.items())
                for row in log[k : k + 2]
            )
            raise Wrong(f'"{said}" came for a run with "{truth}". {_BOOKS[truth]} It has: {rows}.')
    return correct("A log that keeps its books tells what is wrong without another run.")


_BOOKS = {
    "kept": "After a rejected step the loss has to be what it was before it.",
    "turned": "After a failure μ has to rise.",
    "mixed": "The loss after a step has to be the loss before the next one.",
    "nothing": "Rejected steps, a rising μ and a poor ρ are part of a healthy run.",
}


def _log(fault, case):
    """The log of a run on fresh data that was rejected once at least, not in its last row."""
    for draw in range(100 * case, 100 * case + 100):
        x = randn(integer(40, 80, seed=draw), seed=draw)
        y = (x + 0.7 * randn(len(x), seed=draw + 5000) > 0).double()
        start = -uniform(1.5, 3, seed=draw), uniform(0.7, 1.5, seed=draw + 5000)
        log = logged(x, y, start, fault, steps=integer(7, 12, seed=draw))
        if any(row["rho"] <= 0 for row in log[:-1]):
            return log
    raise AssertionError("no run with a rejected step")
