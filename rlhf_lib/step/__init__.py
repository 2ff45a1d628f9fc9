"""One step: the local model, the direction proposed on it, and how far it is trusted."""

from .dense import DenseDirection, ModifiedCholesky, PlainNewton, SaddleFree
from .directions import Cheapest, ConjugateGradients, Direction, ProximalNewton, SampleSpaceSolve
from .globalization import (
    Damping,
    DampingRule,
    Fixed,
    Iterates,
    Martens,
    Nielsen,
    TrustRegion,
    armijo,
    reduction_ratio,
)
from .model import LocalModel, Path, Proposal
from .newton import newton

__all__ = [
    "Cheapest",
    "ConjugateGradients",
    "Damping",
    "DampingRule",
    "DenseDirection",
    "Direction",
    "Fixed",
    "Iterates",
    "LocalModel",
    "Martens",
    "ModifiedCholesky",
    "Nielsen",
    "Path",
    "PlainNewton",
    "Proposal",
    "ProximalNewton",
    "SaddleFree",
    "SampleSpaceSolve",
    "TrustRegion",
    "armijo",
    "newton",
    "reduction_ratio",
]
