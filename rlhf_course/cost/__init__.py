"""The cost of a step before it is paid: counted work, a machine's constants, measured seconds."""

from .calibration import Machine
from .model import Transformer, all_reduce_seconds, dense_hessian_bytes, vector_bytes

__all__ = ["Machine", "Transformer", "all_reduce_seconds", "dense_hessian_bytes", "vector_bytes"]
