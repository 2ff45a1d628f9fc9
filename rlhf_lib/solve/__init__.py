"""Solvers of the damped system, dense, by conjugate gradients, in sample space or by proximal
steps; and of sparse linear models."""

from .conjugate_gradient import CGResult, conjugate_gradient
from .dense import DirectResult, cholesky_solve, saddle_free_solve, solve_dense
from .proximal import ProximalResult, forcing_term, proximal_solve
from .sample_space import sample_space_solve
from .working_set import SparseMinimum, sparse_minimum

__all__ = [
    "CGResult",
    "DirectResult",
    "ProximalResult",
    "SparseMinimum",
    "cholesky_solve",
    "conjugate_gradient",
    "forcing_term",
    "proximal_solve",
    "saddle_free_solve",
    "sample_space_solve",
    "solve_dense",
    "sparse_minimum",
]
