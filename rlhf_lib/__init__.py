"""Regularized Learning with Hessian-Free optimization: a small library to read, use and teach from.

Not Reinforcement Learning from Human Feedback. The folders are the way through the code: objective
and regularizers, what is minimized; curvature and per_sample, what is known of it; solve, from both
to a direction; step, how far to trust it; optimizer and train; select, which lambda.
"""

from . import regularizers
from .curvature import (
    CurvatureOperator,
    GaussNewtonOperator,
    HessianOperator,
    check_closure,
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    exact_hessian,
    gauss_newton_diagonal,
    hutchinson_diagonal,
    lanczos,
    spectral_density,
)
from .linearized import linearize
from .optimizer import RLHFOptimizer
from .per_sample import SampleSpace
from .record import Record
from .select import nested_select_lambda, select_lambda
from .solve import CGResult, conjugate_gradient, proximal_solve, sample_space_solve
from .step import newton
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
    "check_closure",
    "conjugate_gradient",
    "diagonal_preconditioner",
    "empirical_fisher_diagonal",
    "exact_hessian",
    "gauss_newton_diagonal",
    "hutchinson_diagonal",
    "lanczos",
    "linearize",
    "nested_select_lambda",
    "newton",
    "proximal_solve",
    "regularizers",
    "sample_space_solve",
    "select_lambda",
    "spectral_density",
    "train",
]
