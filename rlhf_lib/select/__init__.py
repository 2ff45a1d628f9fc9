"""Choose lambda: folds, the search over them, its table, and a journal of what is done."""

from .folds import stratified_folds
from .journal import Journal
from .result import LambdaPath, LambdaSelection, NestedSelection
from .search import iterate_lambda, iterate_nested, nested_select_lambda, select_lambda

__all__ = [
    "Journal",
    "LambdaPath",
    "LambdaSelection",
    "NestedSelection",
    "iterate_lambda",
    "iterate_nested",
    "nested_select_lambda",
    "select_lambda",
    "stratified_folds",
]
