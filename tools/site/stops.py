"""Which panels have a table in the pages, and at which stops of their controls.

{notebook: {panel, counted from 1: {control: how many of its stops, or which values}}}. A control
that is not named stays where it starts. `goal` is False where the panel's goal needs two runs.
"linear": the page computes the states itself (linear_table.py).
"""

STOPS = {
    "00": {1: {"lambda_reg": 18, "damping": 18, "goal": False}},
    "01": {
        1: {"lambda_reg": 15, "degree": [1, 3, 5, 8, 12, 15], "n": [10, 20, 50], "noise": 3},
        2: {"model": 3, "n": [20, 50, 100], "lambda_reg": 11},
        3: {"lambda_reg": 7, "label_noise": 3},
    },
    "02": {
        1: {
            "method": 2,
            "kappa": [1.0, 25.0, 100.0],
            "rate": 7,
            "x": [-2.0, -1.0, 0.0, 1.0, 2.0],
            "y": [-2.0, -1.0, 1.0],
        },
        2: {"bowl": 3, "x": 41},
    },
    "03": {1: {"x": 9, "y": 7, "damping": 6}},
    "04": {
        1: {"method": 4, "numbers": 2, "eps": 29},
        3: {"products": [1, 2, 3, 5, 7, 10, 15, 20, 30, 40], "seed": 3},
    },
    "05": {
        1: {"start": 72, "method": 2},
        2: {"spectrum": 5, "condition": 11, "preconditioner": 3, "tolerance": [0.2, 1e-4]},
        3: {"noise": 11, "measurements": 16},
    },
    "06": {1: {"method": 4, "lambda_reg": 17}, 2: {"method": 2, "least": 16}},
    "07": {1: {"loss": 2, "width": [4, 16, 32], "steps": [0, 20, 60, 140, 300]}},
    "08": {
        1: {"a": 7, "b": 7, "damping": 9},
        2: {"a": 5, "b": 5, "guard": 7, "damping": 2, "goal": False},
    },
    "10": {1: "linear", 2: {"lambda_reg": 3, "damping": 2, "noise": 3}},
    "11": {1: {"n": 4, "sample": 2, "folds": [2, 5, 10], "seeds": [1, 5], "rule": 2}},
    "15": {
        1: {
            "shape": 5,
            "batch": [1, 16, 64],
            "tokens": [32, 128, 512],
            "products": [5, 40],
            "what": 2,
            "workers": [1, 2, 4, 8, 16],
            "network": 4,
        },
        2: {"matrix": 2, "epochs": 2},
    },
    "16": {2: {"axis": 2, "problem": 7, "rlhf": 2}},
    "17": {1: {"claim": 14}},
}
