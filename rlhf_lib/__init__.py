"""Regularized Learning with Hessian-Free optimization: a small library to read, use and teach from.

Not Reinforcement Learning from Human Feedback. The way through the code, top to bottom:
objective and regularizers, curvature, solvers, globalize, newton and optimizer, train.
"""

from . import regularizers
from .curvature import CurvatureOperator, GaussNewtonOperator, HessianOperator, exact_hessian
from .newton import newton
from .optimizer import RLHFOptimizer
from .record import Record
from .solvers import CGResult, conjugate_gradient
from .train import train

__version__ = "0.1.0"
__all__ = [
    "CGResult",
    "CurvatureOperator",
    "GaussNewtonOperator",
    "HessianOperator",
    "RLHFOptimizer",
    "Record",
    "conjugate_gradient",
    "exact_hessian",
    "newton",
    "regularizers",
    "train",
]
