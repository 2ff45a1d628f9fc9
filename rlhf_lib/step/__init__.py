"""One step: the local model, the direction proposed on it, and how far it is trusted."""

from .directions import Solver
from .globalization import Damping, Iterates, TrustRegion, armijo, reduction_ratio
from .model import LocalModel, Path, Proposal
from .newton import newton

__all__ = [
    "Damping",
    "Iterates",
    "LocalModel",
    "Path",
    "Proposal",
    "Solver",
    "TrustRegion",
    "armijo",
    "newton",
    "reduction_ratio",
]
