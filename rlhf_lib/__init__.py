"""Regularized Learning with Hessian-Free optimization: a small library to read, use and teach from.

Not Reinforcement Learning from Human Feedback. The way through the code, top to bottom:
objective and regularizers; curvature; conjugate gradients, sample space, proximal steps; how far to
trust a step; newton and optimizer; train; select_lambda.
"""

from . import regularizers
from .curvature import CurvatureOperator, GaussNewtonOperator, HessianOperator, exact_hessian
from .newton import newton
from .optimizer import RLHFOptimizer
from .preconditioners import (
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from .proximal import proximal_solve
from .record import Record
from .sample_rows import SampleSpace
from .sample_space import sample_space_solve
from .select_lambda import nested_select_lambda, select_lambda
from .solvers import CGResult, conjugate_gradient
from .spectrum import lanczos, spectral_density
from .train import train

__version__ = "0.1.0"
__all__ = [
    "CGResult",
    "CurvatureOperator",
    "GaussNewtonOperator",
    "HessianOperator",
    "RLHFOptimizer",
    "Record",
    "SampleSpace",
    "conjugate_gradient",
    "diagonal_preconditioner",
    "empirical_fisher_diagonal",
    "exact_hessian",
    "gauss_newton_diagonal",
    "hutchinson_diagonal",
    "lanczos",
    "nested_select_lambda",
    "newton",
    "proximal_solve",
    "regularizers",
    "sample_space_solve",
    "select_lambda",
    "spectral_density",
    "train",
]
