"""What the method is compared with."""

from .penalized_adamw import PenalizedAdamW

__all__ = ["PenalizedAdamW"]
