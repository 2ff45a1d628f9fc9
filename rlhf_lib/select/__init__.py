"""Choose lambda: folds, the search over them, its table, and a journal of what is done."""

from .choose import nested_select_lambda, select_lambda
from .folds import stratified_folds
from .journal import Journal
from .result import LambdaPath, LambdaSelection, NestedSelection
from .search import LambdaSearch

__all__ = [
    "Journal",
    "LambdaPath",
    "LambdaSearch",
    "LambdaSelection",
    "NestedSelection",
    "nested_select_lambda",
    "select_lambda",
    "stratified_folds",
]
