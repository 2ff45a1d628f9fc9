"""Rows of single samples: G = U'U, its factor U recorded from one pass and multiplied by layers."""

from .factor import SampleSpace
from .loss_factor import output_factor
from .recorder import Tape

__all__ = ["SampleSpace", "Tape", "output_factor"]
