"""Wrong arguments of each kind, given to the public functions: they are told, in our own words.

A row names a call, its arguments, and for each which kind of value it takes. Every value of every
other kind has to be refused by the library itself: an error that is raised in its own files and
says what was expected and what came.
"""

import math
import random
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rlhf_course
import rlhf_lib
from rlhf_lib import compress, curvature, panels, regularizers, select, solve, step
from rlhf_lib.baselines import PenalizedAdamW
from rlhf_lib.objective import TaskLoss, assign, flatten, unflatten

LIBRARY = str(Path(rlhf_lib.__file__).parent)
COURSE = str(Path(rlhf_course.__file__).parent)
OWN = (TypeError, ValueError, FloatingPointError, OSError, MemoryError)
D = torch.float64
N = 3
POINT = torch.tensor([1.0, -2.0, 0.5], dtype=D)
SPD = torch.tensor([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]], dtype=D)

# What no argument at all takes, but for those that are a function, a name, a list or None.
ANYTHING = {"object": object(), "complex": 1j, "dict": {}, "nested": [[1.0], [2.0]], "bytes": b"1"}
NUMBERS = ANYTHING | {
    "text": "1",
    "flag": True,
    "nan": math.nan,
    "several": torch.ones(2),
    "array": np.ones(2),
    "huge": 10**400,
    "meta": torch.ones((), device="meta"),
}
POSITIVE = NUMBERS | {"negative": -1}
WHOLE = {k: v for k, v in POSITIVE.items() if k != "huge"} | {"fraction": 1.5, "infinite": math.inf}
FLAG = ANYTHING | {"text": "no", "one": 1, "none": None, "several": torch.ones(2)}
NAME = ANYTHING | {"other": "other", "number": 3, "flag": True, "several": torch.ones(2)}
FUNCTION = ANYTHING | {"none": None, "text": "text", "number": 3, "tensor": torch.ones(2)}
GENERATOR = ANYTHING | {"seed": 0, "numpy": np.random.default_rng(0), "python": random.Random(0)}
TENSOR = ANYTHING | {"none": None, "text": "text", "number": 3.0, "generator": (x for x in "ab")}
VECTOR = TENSOR | {
    "list": [1.0, 2.0, 3.0],
    "array": np.ones(N),
    "short": torch.ones(N - 1, dtype=D),
    "scalar": torch.tensor(1.0, dtype=D),
    "matrix": torch.ones(N, 2, dtype=D),
    "empty": torch.zeros(0, dtype=D),
    "whole": torch.ones(N, dtype=torch.int64),
    "mask": torch.ones(N, dtype=torch.bool),
    "complex": torch.ones(N, dtype=torch.complex128),
    "meta": torch.ones(N, dtype=D, device="meta"),
}
FINITE = VECTOR | {"nan": POINT * math.nan, "infinite": POINT * math.inf}
MATRIX = TENSOR | {
    "array": np.eye(N),
    "vector": POINT,
    "wide": torch.ones(N, 2, dtype=D),
    "small": torch.eye(N - 1, dtype=D)[:, :1],
    "cube": torch.ones(N, N, N, dtype=D),
    "whole": torch.eye(N, dtype=torch.int64),
    "complex": torch.eye(N, dtype=torch.complex128),
    "meta": torch.eye(N, dtype=D, device="meta"),
}
PARAMS = {
    "none": None,
    "number": 3,
    "text": "text",
    "module": nn.Linear(2, 1),
    "empty": [],
    "numbers": [1.0, 2.0],
    "texts": ["a"],
    "nones": [None],
    "reversed": [(nn.Parameter(POINT.clone()), "name")],
}
BATCHES = {"number": 3, "text": "text", "object": object(), "empty": []}
LAMBDAS = {
    "none": None,
    "number": 0.1,
    "text": "text",
    "empty": [],
    "texts": ["a"],
    "nan": [math.nan],
    "negative": [-1.0],
    "double": [1, 1],
    "flags": [True],
    "complex": [1j],
}

WORD = ANYTHING | {"number": 3, "flag": True, "none": None, "texts": ["a"]}
LIST = ANYTHING | {"number": 3, "text": "text", "numbers": [1.0, 2.0], "nones": [None]}
SERIES = LIST | {"numbers by name": {"a": 3}, "one": {"a": [1]}, "unequal": {"a": ([1, 2], [1])}}

X = torch.arange(12.0, dtype=D).reshape(6, 2) / 6
Y = torch.arange(6) % 2


def squared(theta):
    return (theta**2).sum()


def net():
    torch.manual_seed(0)
    return nn.Linear(2, 2).to(D)


def cross_entropy(model):
    def closure(batch=(X, Y)):
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs, batch[1]), outputs

    return closure


def optimized(params=None, **settings):
    model = net()
    params = list(model.parameters()) if params is None else params
    return rlhf_lib.RLHFOptimizer(params, **settings).step(cross_entropy(model))


def adam(params=None, **settings):
    return PenalizedAdamW(net().parameters() if params is None else params, **settings)


def trained(optimizer=None, batches=((X, Y),), **settings):
    model = net()
    optimizer = rlhf_lib.RLHFOptimizer(model.parameters()) if optimizer is None else optimizer
    return list(rlhf_lib.train(cross_entropy(model), optimizer, batches, **settings))


def fitted(train, validation, lambdas, seed):
    return [(value - 0.1) ** 2 for value in lambdas]


def linear(**settings):
    return rlhf_lib.linearize(net(), (X[:4], Y[:4]), (X[4:], Y[4:]), **settings)


def operator(kind, v=None, params=None, **settings):
    model = net()
    params = model.parameters() if params is None else params
    return kind(cross_entropy(model), params, **settings) @ (
        torch.ones(6, dtype=D) if v is None else v
    )


def newton(f, theta0, **settings):
    return list(rlhf_lib.newton(f, theta0, **settings))


def without(values, *kinds):
    return {k: v for k, v in values.items() if k not in kinds}


SYSTEM = {"A": (SPD, MATRIX), "b": (POINT, FINITE)}
SPECTRUM = {"A": (SPD, MATRIX), "generator": (None, GENERATOR)}
PENALTY = {
    "weight": (1.0, without(POSITIVE, "several", "array", "nested")),
    "include_all": (False, FLAG),
}
TABLE = [
    (
        solve.conjugate_gradient,
        SYSTEM
        | {
            "x0": (None, without(FINITE, "none")),
            "rtol": (1e-6, POSITIVE),
            "atol": (0.0, POSITIVE),
            "max_iter": (3, WHOLE),
            "radius": (None, POSITIVE),
            "progress_tol": (None, POSITIVE),
            "callback": (None, without(FUNCTION, "none")),
        },
    ),
    (
        solve.proximal_solve,
        {
            "A": (SPD, MATRIX),
            "gradient": (POINT, FINITE),
            "penalty": (regularizers.L1(), FUNCTION),
            "theta": (POINT, FINITE),
            "rtol": (1e-6, POSITIVE),
            "max_iter": (30, WHOLE),
            "lipschitz": (None, POSITIVE),
        },
    ),
    (solve.solve_dense, {"H": (SPD, MATRIX), "b": (POINT, VECTOR)}),
    (solve.cholesky_solve, {"H": (SPD, MATRIX), "b": (POINT, VECTOR), "beta": (1e-3, POSITIVE)}),
    (
        solve.saddle_free_solve,
        {"H": (SPD, MATRIX), "b": (POINT, VECTOR), "floor": (None, POSITIVE)},
    ),
    (
        solve.forcing_term,
        {"norm": (1.0, POSITIVE), "first_norm": (2.0, POSITIVE), "most": (0.1, POSITIVE)},
    ),
    (curvature.lanczos, SPECTRUM | {"k": (2, WHOLE), "start": (None, without(FINITE, "none"))}),
    (curvature.spectral_density, SPECTRUM | {"steps": (2, WHOLE), "probes": (2, WHOLE)}),
    (curvature.trace, SPECTRUM | {"products": (9, WHOLE)}),
    (
        curvature.trace_of,
        SPECTRUM | {"f": (torch.sqrt, FUNCTION), "steps": (2, WHOLE), "probes": (2, WHOLE)},
    ),
    (curvature.hutchinson_diagonal, SPECTRUM | {"samples": (2, WHOLE)}),
    (
        curvature.diagonal_preconditioner,
        {
            "diagonal": (POINT.abs(), without(FINITE, "short", "empty")),
            "shift": (0.0, without(NUMBERS, "several")),
            "exponent": (0.75, POSITIVE),
        },
    ),
    (
        curvature.exact_hessian,
        {
            "f": (squared, FUNCTION),
            "theta": (POINT, without(VECTOR, "short")),
            "max_bytes": (2**31, WHOLE),
            "chunk": (2, WHOLE),
        },
    ),
    (
        lambda matrix, v: curvature.MatrixOperator(matrix) @ v,
        {"matrix": (SPD, MATRIX), "v": (POINT, without(VECTOR, "matrix"))},
    ),
    (
        lambda A, shift, v, free=None: curvature.Shifted(A, shift, free) @ v,
        {
            "A": (SPD, MATRIX),
            "shift": (1.0, without(NUMBERS, "nan")),
            "free": (None, without(VECTOR, "none", "mask")),
            "v": (POINT, without(VECTOR, "matrix")),
        },
    ),
    *(
        (
            lambda kind=kind, **a: operator(kind, **a),
            {
                "v": (None, without(VECTOR, "none")),
                "params": (None, without(PARAMS, "none")),
                "batches": (None, BATCHES),
                "count": (None, NAME),
                "keep_graph": (True, FLAG),
            },
        )
        for kind in (curvature.HessianOperator, curvature.GaussNewtonOperator)
    ),
    (
        lambda **a: curvature.check_closure(lambda: squared(a["params"][0]), **a),
        {"params": ([nn.Parameter(POINT.clone())], PARAMS), "curvature": ("hessian", NAME)},
    ),
    (
        TaskLoss,
        {
            "fn": (torch.sum, FUNCTION),
            "batches": ([torch.ones(2)], BATCHES),
            "count": (None, NAME),
            "device": (None, NAME),
            "compare": (True, FLAG),
        },
    ),
    (flatten, {"tensors": ([POINT], PARAMS)}),
    (
        unflatten,
        {
            "vector": (POINT, without(VECTOR, "whole", "mask", "complex", "meta")),
            "like": ([POINT], PARAMS),
        },
    ),
    (
        assign,
        {
            "params": ([POINT.clone()], PARAMS),
            "vector": (POINT, without(VECTOR, "whole", "mask", "complex", "meta")),
        },
    ),
    *(
        (
            lambda kind=kind, theta=POINT, step=1.0, **a: kind(**a).prox(theta, step),
            PENALTY
            | {
                "theta": (POINT, without(VECTOR, "short", "empty")),
                "step": (1.0, without(POSITIVE, "several")),
                "center": (None, without(FINITE, "none")),
            },
        )
        for kind in (
            regularizers.L1,
            regularizers.L2,
            regularizers.PseudoHuber,
            regularizers.ElasticNet,
        )
    ),
    (regularizers.ElasticNet, {"l1_ratio": (0.5, POSITIVE)}),
    (regularizers.PseudoHuber, {"delta": (0.1, POSITIVE)}),
    (regularizers.check_lambda, {"value": (1.0, POSITIVE)}),
    (regularizers.make_regularizer, {"kind": ("l1", NAME)}),
    (
        step.Damping,
        {
            "value": (1.0, POSITIVE),
            "rule": ("nielsen", NAME),
            "least": (1e-10, POSITIVE),
            "most": (1e10, POSITIVE),
        },
    ),
    (step.TrustRegion, {"radius": (1.0, POSITIVE), "most": (1e10, POSITIVE)}),
    (
        step.ConjugateGradients,
        {
            "max_iter": (5, WHOLE),
            "rtol": (1e-3, POSITIVE),
            "progress_tol": (None, POSITIVE),
            "warm_start": (0.0, POSITIVE),
            "backtrack": (False, FLAG),
            "preconditioner": (None, without(NAME, "several")),
        },
    ),
    (step.ProximalNewton, {"rtol": (1e-3, POSITIVE), "max_iter": (5, WHOLE)}),
    (
        step.SampleSpaceSolve,
        {"rtol": (1e-3, POSITIVE), "otherwise": (step.ConjugateGradients(), FUNCTION)},
    ),
    (
        step.PlainNewton,
        {"proximal": (False, FLAG), "atol": (0.0, POSITIVE), "scaled": (False, FLAG)},
    ),
    (
        step.armijo,
        {
            "f": (lambda t: (t - 1) ** 2, FUNCTION),
            "f0": (1.0, NUMBERS),
            "slope": (lambda t: -t, FUNCTION),
            "start": (1.0, POSITIVE),
            "c": (1e-4, POSITIVE),
            "shrink": (0.5, POSITIVE),
            "most": (3, WHOLE),
        },
    ),
    (
        newton,
        {
            "f": (squared, FUNCTION),
            "theta0": (POINT, without(VECTOR, "list", "array", "short", "generator", "nested")),
            "regularizer": (None, NAME),
            "lambda_reg": (0.0, POSITIVE),
            "damping": (0.0, POSITIVE),
            "damping_rule": ("fixed", NAME),
            "scale": (None, NAME),
            "line_search": (False, FLAG),
            "max_steps": (2, WHOLE),
            "tol": (1e-8, POSITIVE),
            "direction": ("newton", NAME),
            "method": (None, NAME),
        },
    ),
    (
        optimized,
        {
            "params": (None, without(PARAMS, "none")),
            "lr": (1.0, POSITIVE),
            "lambda_reg": (0.1, POSITIVE),
            "regularizer": ("l2", NAME),
            "damping": (1.0, POSITIVE),
            "curvature": ("ggn", NAME),
            "solver": ("cg", NAME),
            "kinks": (None, NAME),
            "damping_rule": ("nielsen", NAME),
            "radius": (None, POSITIVE),
            "max_iter": (5, WHOLE),
            "rtol": (1e-3, POSITIVE),
            "progress_tol": (None, POSITIVE),
            "warm_start": (0.0, POSITIVE),
            "backtrack": (False, FLAG),
            "line_search": (True, FLAG),
            "keep_graph": (True, FLAG),
            "count": (None, NAME),
        },
    ),
    (
        adam,
        {
            "params": (None, without(PARAMS, "none")),
            "lr": (1e-3, POSITIVE),
            "lambda_reg": (0.1, POSITIVE),
            "regularizer": ("l2", NAME),
            "betas": ((0.9, 0.99), NUMBERS),
            "eps": (1e-8, POSITIVE),
        },
    ),
    (
        trained,
        {
            "optimizer": (None, without(FUNCTION, "none")),
            "batches": (((X, Y),), BATCHES),
            "epochs": (1, WHOLE),
            "max_steps": (None, WHOLE),
            "evaluate": (None, without(FUNCTION, "none")),
            "evaluate_every": (1, WHOLE),
        },
    ),
    (
        select.stratified_folds,
        {
            "labels_or_n": (6, without(TENSOR, "generator")),
            "folds": (2, WHOLE),
            "seed": (0, without(WHOLE, "negative")),
        },
    ),
    (
        select.select_lambda,
        {
            "fit": (fitted, FUNCTION),
            "labels_or_n": (6, without(TENSOR, "generator")),
            "lambdas": ([0.1, 1.0], LAMBDAS),
            "by": ("cv", NAME),
            "progress": (None, without(FUNCTION, "none")),
            "folds": (2, WHOLE),
            "seeds": ((0,), LAMBDAS),
            "rule": ("1se", NAME),
            "maximize": (False, FLAG),
            "warm_start": (True, FLAG),
            "workers": (1, without(WHOLE, "negative")),
            "resume": (None, ANYTHING | {"number": 3}),
        },
    ),
    (
        linear,
        {
            "loss": ("cross_entropy", NAME),
            "params": (None, without(PARAMS, "none")),
            "include_all": (False, FLAG),
            "micro_batch": (64, WHOLE),
            "max_bytes": (2**32, WHOLE),
            "double": (False, FLAG),
            "load": (None, ANYTHING | {"number": 3, "missing": "no such file"}),
        },
    ),
    (
        lambda **a: linear().run(**a),
        {
            "lambda_reg": (0.1, POSITIVE),
            "damping": (1.0, POSITIVE),
            "steps": (1, WHOLE),
            "damping_rule": ("fixed", NAME),
            "line_search": (True, FLAG),
            "tol": (1e-8, POSITIVE),
            "samples": (None, without(TENSOR, "none")),
            "regularizer": ("l2sp", NAME),
            "include_all": (None, without(FLAG, "none")),
        },
    ),
    (
        lambda fraction, **a: compress.prune(net(), fraction, **a),
        {
            "fraction": (0.5, POSITIVE),
            "by": ("magnitude", NAME),
            "per_layer": (False, FLAG),
            "embeddings": (False, FLAG),
            "damping": (0.01, POSITIVE),
            "samples": (10, WHOLE),
            "generator": (None, GENERATOR),
        },
    ),
    (
        compress.optimal_brain_surgeon,
        {"theta": (POINT, FINITE), "hessian": (SPD, MATRIX), "count": (1, WHOLE)},
    ),
    (
        compress.keep_masks,
        {
            "scores": ({"a": POINT}, without(FUNCTION, "dict")),
            "fraction": (0.5, POSITIVE),
            "per_tensor": (False, FLAG),
        },
    ),
    (
        compress.distillation_loss,
        {
            "student": (SPD, TENSOR),
            "teacher": (SPD, TENSOR),
            "labels": (torch.tensor([0, 1, 2]), without(VECTOR, "none", "whole")),
            "temperature": (2.0, POSITIVE),
            "alpha": (0.5, POSITIVE),
        },
    ),
]

AXES = {
    "title": ("", WORD),
    "x_title": ("", WORD),
    "x_range": (None, without(LIST, "numbers")),
    "y_log": (False, FLAG),
    "height": (300, POSITIVE),
    "goal": (None, LIST),
    "layout": (None, without(LIST, "dict")),
    "readout": ("", WORD),
}


def panel(**settings):
    one = panels.slider("x", "X", low=0.0, high=1.0, step=0.1, value=0.5)
    settings = {"generate": lambda x: iter([1]), "controls": [one]} | settings
    panels.Panel(**settings).close()


TABLE += [
    (
        lambda **a: compress.prune(net(), 0.5, **a),
        {
            "curvature": ("ggn", NAME),
            "loss_fn": (None, without(FUNCTION, "none")),
            "count": (None, NAME),
            "others": (None, NAME),
            "structured": (None, NAME),
        },
    ),
    (
        lambda **a: compress.sparsity(net(), **a),
        {"embeddings": (False, FLAG), "others": ("prune", NAME)},
    ),
    (
        panels.slider,
        {
            "name": ("x", WORD),
            "label": ("X", WORD),
            "low": (0.0, NUMBERS),
            "high": (1.0, NUMBERS),
            "step": (0.1, POSITIVE),
            "value": (0.5, without(NUMBERS, "text")),
        },
    ),
    (
        panels.choice,
        {
            "name": ("x", WORD),
            "label": ("X", WORD),
            "options": (["a", "b"], LIST),
            "value": ("a", without(WORD, "none")),
        },
    ),
    (
        panel,
        {
            "generate": (lambda x: iter([1]), FUNCTION),
            "controls": (None, LIST),
            "figures": ([], LIST),
            "readout": (None, without(FUNCTION, "none")),
            "total": (None, WHOLE),
            "title": ("", WORD),
            "goal": ("", WORD),
            "on_release": (True, FLAG),
            "keep": (4, WHOLE),
            "first": (True, FLAG),
            "follow": (None, without(FLAG, "none")),
            "preview": (None, without(FUNCTION, "none")),
            "play": (False, FLAG),
        },
    ),
    (
        lambda **a: panels.charts.chart(**a),
        {
            "series": ({"a": ([0, 1], [1.0, 2.0])}, without(SERIES, "dict")),
            "kind": ("lines", without(NAME, "dict")),
        }
        | AXES,
    ),
    (
        lambda **a: panels.figures.Curves(**a),
        {"series": ({"a": "loss"}, without(SERIES, "dict")), "x": ("step", without(WORD, "text"))}
        | AXES,
    ),
    (
        lambda name, **a: rlhf_course.check(name, None, **a),
        {"name": ("05.cg", WORD), "seed": (0, without(WHOLE, "text"))},
    ),
    (rlhf_course.recorded, {"name": ("nb10_sst2.json", WORD | {"up": "../series.py"})}),
]


def refused(call, arguments, name, bad):
    """Whether the call with this value ends in an error of the library's own."""
    values = {key: value for key, (value, _) in arguments.items() if value is not None}
    values[name] = bad
    try:
        call(**values)
    except OWN as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raised = place.filename.startswith((LIBRARY, COURSE)) and (place.line or "").startswith(
            "raise "
        )
        return raised and "expected" in str(error) and "got" in str(error)
    except Exception:
        return False
    return False


@pytest.mark.parametrize("row", TABLE, ids=[f"{i}-{c.__name__}" for i, (c, _) in enumerate(TABLE)])
def test_wrong_kinds_are_refused_by_name(row):
    call, arguments = row
    call(**{key: value for key, (value, _) in arguments.items() if value is not None})
    wrong = [
        f"{name}={label}"
        for name, (_, kinds) in arguments.items()
        for label, bad in kinds.items()
        if not refused(call, arguments, name, bad)
    ]
    assert not wrong
