"""Solvers of the damped system: dense, conjugate gradients, sample space, proximal steps."""

from .conjugate_gradient import CGResult, conjugate_gradient
from .dense import DirectResult, cholesky_solve, saddle_free_solve, solve_dense
from .proximal import ProximalResult, forcing_term, proximal_solve
from .sample_space import sample_space_solve

__all__ = [
    "CGResult",
    "DirectResult",
    "ProximalResult",
    "cholesky_solve",
    "conjugate_gradient",
    "forcing_term",
    "proximal_solve",
    "saddle_free_solve",
    "sample_space_solve",
    "solve_dense",
]
