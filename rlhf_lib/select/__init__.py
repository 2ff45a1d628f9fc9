"""Choose lambda: folds, the search over them, its table, and a journal of what is done."""

from .choose import nested_select_lambda, select_lambda
from .folds import stratified_folds
from .grid import lambda_grid
from .journal import Journal
from .result import CriterionSelection, LambdaPath, LambdaSelection, NestedSelection, Selection
from .search import LambdaSearch

__all__ = [
    "CriterionSelection",
    "Journal",
    "LambdaPath",
    "LambdaSearch",
    "LambdaSelection",
    "NestedSelection",
    "Selection",
    "lambda_grid",
    "nested_select_lambda",
    "select_lambda",
    "stratified_folds",
]
