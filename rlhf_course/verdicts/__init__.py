"""How numbers become words: paired comparisons, planned looks, and the rule of the ledger.

Studies stop by it, and the ledger judges by it; neither is known here.
"""

from .comparison import Comparison, interval, student
from .rule import verdict

__all__ = ["Comparison", "interval", "student", "verdict"]
