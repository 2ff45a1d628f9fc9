"""What is minimized: a task loss over weighted batches, on one flat vector of parameters."""

from .counts import sample_count
from .parameters import assign, flatten, unflatten
from .ranks import RankError, Ranks, connect
from .task_loss import TaskLoss

__all__ = [
    "RankError",
    "Ranks",
    "TaskLoss",
    "assign",
    "connect",
    "flatten",
    "sample_count",
    "unflatten",
]
