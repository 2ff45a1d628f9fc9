"""Newton's method with the exact Hessian, for toys: a generator that shows every step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .curvature import exact_hessian
from .globalize import armijo
from .objective import gradients
from .record import Record
from .regularizers import Regularizer, check_has_penalty, make_regularizer
from .solvers import CONVERGED, NEGATIVE_CURVATURE, SINGULAR, solve_dense


def newton(
    f: Callable[[Tensor], Tensor],
    theta0: Tensor,
    *,
    regularizer: str | Regularizer | None = None,
    lambda_reg: float = 0.0,
    damping: float = 0.0,
    line_search: bool = False,
    max_steps: int = 50,
    tol: float = 1e-8,
) -> Iterator[Record]:
    """Minimize f(theta) + lambda R(theta) by theta <- theta - (H + mu I)^-1 gradient.

    With a smooth penalty this is the textbook step (Nocedal and Wright, 2006, eq. 3.30), taken in
    full unless ``line_search``: undamped, it walks into saddles and may diverge, which is what the
    notebooks show. With an L1-type penalty it is the orthant-wise method of Andrew and Gao (2007)
    with Newton steps on the free coordinates (Byrd, Chin, Nocedal and Oztoprak, 2016): a projected
    line search always follows, and zeros are exact zeros.

    Args:
        f: the task loss, from a vector of shape (n,) to a scalar.
        theta0: start, shape (n,).
        regularizer: "l1", "l2", "elastic-net", "l2sp", "l1sp", or an object; SP kinds pull to
            theta0. All coordinates are penalized.
        lambda_reg: weight of the penalty.
        damping: mu >= 0, added to the diagonal.
        line_search: backtrack from the full step until f decreases enough (smooth penalties).
        max_steps: most steps.
        tol: converged when the 2-norm of the (minimum-norm sub)gradient is at most tol.

    Yields:
        Records with theta, step 0 first. ``extra["eigenvalues"]`` holds those of the Hessian of
        the objective (without mu) at theta, ascending. The last one's reason says why it ended:
        "converged", "max_steps", "singular", "not_finite" or "line_search_failed".

    Raises:
        ValueError: lambda_reg > 0 without a regularizer, negative or non-finite settings.
    """
    if theta0.ndim != 1:
        raise ValueError(f"expected theta0 of shape (n,), got {tuple(theta0.shape)}")
    if not 0 <= damping < math.inf:
        raise ValueError(f"expected a finite damping >= 0, got {damping}")
    check_has_penalty(lambda_reg, regularizer)
    theta = theta0.detach().clone()
    penalty = make_regularizer(regularizer) or make_regularizer("l2")
    if penalty.from_start and penalty.center is None:
        penalty.center = theta.clone()
    penalty.weight = lambda_reg
    started = time.perf_counter()

    def measure(point: Tensor) -> tuple[float, Tensor]:
        with torch.enable_grad():
            leaf = point.detach().clone().requires_grad_(True)
            loss = f(leaf)
            return loss.item(), gradients(loss.reshape(()), [leaf])[0].detach()

    def objective(point: Tensor) -> float:
        with torch.no_grad():
            return float(f(point)) + float(penalty.value(point))

    loss, gradient = measure(theta)
    taken: dict = {}
    for step in range(max_steps + 1):
        total = penalty.subgradient(gradient, theta)
        H = exact_hessian(f, theta) + torch.diag(penalty.curvature(theta).expand(theta.numel()))
        finite = math.isfinite(loss) and bool(H.isfinite().all()) and bool(total.isfinite().all())
        eigenvalues = torch.linalg.eigvalsh((H + H.T) / 2) if finite else H.new_full((1,), math.nan)
        value = loss + float(penalty.value(theta))
        norm = float(total.norm())
        ended = (
            "not_finite" if not finite
            else "converged" if norm <= tol
            else "max_steps" if step == max_steps
            else taken.get("ended", "")
        )  # fmt: skip
        solved = taken.pop("reason", "start")
        taken.pop("ended", None)
        yield Record(
            step=step, loss=loss, penalty=value - loss, grad_norm=norm, damping=damping,
            reason=ended or solved, seconds=time.perf_counter() - started, theta=theta.clone(),
            extra={"eigenvalues": eigenvalues, "nonzeros": int((theta != 0).sum())}, **taken,
        )  # fmt: skip
        if ended:
            return
        damped = H + damping * torch.eye(len(H), dtype=H.dtype, device=H.device)
        if penalty.smooth:
            direction, reason = solve_dense(damped, -total)
            signs = torch.zeros_like(theta)
        else:
            signs, stay = penalty.orthant(theta, -total)
            direction, reason = _free_direction(damped, -total, ~stay)
        start, length, predicted = theta, 1.0, _predicted(direction, total, H)
        theta = penalty.project(start + direction, signs)
        if line_search or not penalty.smooth:
            length, _, _ = armijo(
                lambda t, s=start, d=direction, q=signs: objective(penalty.project(s + t * d, q)),
                value,
                lambda t, s=start, d=direction, q=signs, g=total: float(
                    g @ (penalty.project(s + t * d, q) - s)
                ),
                most=40,
            )
            theta = penalty.project(start + length * direction, signs) if length else start
        actual = value - objective(theta)
        taken = {
            "step_length": length,
            "step_norm": float((theta - start).norm()),
            "rho": actual / predicted if predicted else math.nan,
            "reason": reason,
            "accepted": length > 0,
            # An L1-type penalty bounds what the Hessian leaves flat, and its line search decides.
            "ended": "singular" if penalty.smooth and reason == "singular"
            else "" if length else "line_search_failed",
        }
        loss, gradient = measure(theta)


def _predicted(d: Tensor, gradient: Tensor, H: Tensor) -> float:
    """Reduction that the quadratic model promises for the full step."""
    return -float(gradient @ d + 0.5 * d @ (H @ d))


def _free_direction(H: Tensor, b: Tensor, free: Tensor) -> tuple[Tensor, str]:
    """Solve H_FF d_F = b_F on the free coordinates, d = 0 elsewhere.

    Where H_FF is not positive definite its eigenvalues are replaced by their moduli, and zeros by
    the least modulus (Nocedal and Wright, 2006, section 3.4), so that d descends in any case.
    """
    d = torch.zeros_like(b)
    Hf = H[free][:, free]
    eigenvalues, vectors = torch.linalg.eigh((Hf + Hf.T) / 2)
    moduli = eigenvalues.abs()
    rounding = moduli.max() * len(Hf) * torch.finfo(H.dtype).eps
    least = moduli[moduli > rounding].min() if float(rounding) > 0 else moduli.new_ones(())
    d[free] = vectors @ ((vectors.T @ b[free]) / moduli.clamp(min=least))
    if float(eigenvalues[0]) < -rounding:
        return d, NEGATIVE_CURVATURE
    return d, CONVERGED if float(eigenvalues[0]) > rounding else SINGULAR
