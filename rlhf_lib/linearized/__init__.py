"""A model linearized at a point, solved in closed form in sample space, for any lambda and mu."""

from .linearize import linearize
from .losses import Binary, Convex, CrossEntropy, SquaredError
from .model import LinearModel
from .posterior import LeaveOneOut, Posterior
from .solution import Fit, LambdaCurve, Predictions, Run

__all__ = [
    "Binary",
    "Convex",
    "CrossEntropy",
    "Fit",
    "LambdaCurve",
    "LeaveOneOut",
    "LinearModel",
    "Posterior",
    "Predictions",
    "Run",
    "SquaredError",
    "linearize",
]
