"""One step: the local model, the direction proposed on it, and how far it is trusted."""

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
    "Direction",
    "Fixed",
    "Iterates",
    "LocalModel",
    "Martens",
    "Nielsen",
    "Path",
    "Proposal",
    "ProximalNewton",
    "SampleSpaceSolve",
    "TrustRegion",
    "armijo",
    "newton",
    "reduction_ratio",
]
