"""The matrix of second derivatives: exact for toys, by products for models, its diagonal, its
spectrum, and the same matrix damped.
"""

from .check_closure import check_closure
from .damped import Shifted
from .diagonals import (
    diagonal_preconditioner,
    empirical_fisher_diagonal,
    gauss_newton_diagonal,
    hutchinson_diagonal,
)
from .exact import MatrixOperator, exact_hessian
from .lanczos import LanczosResult, SpectralDensity, lanczos, spectral_density
from .operators import CurvatureOperator, GaussNewtonOperator, HessianOperator
from .scipy_operator import to_scipy
from .traces import Estimate, log_determinant, trace, trace_of

__all__ = [
    "CurvatureOperator",
    "Estimate",
    "GaussNewtonOperator",
    "HessianOperator",
    "LanczosResult",
    "MatrixOperator",
    "Shifted",
    "SpectralDensity",
    "check_closure",
    "diagonal_preconditioner",
    "empirical_fisher_diagonal",
    "exact_hessian",
    "gauss_newton_diagonal",
    "hutchinson_diagonal",
    "lanczos",
    "log_determinant",
    "spectral_density",
    "to_scipy",
    "trace",
    "trace_of",
]
