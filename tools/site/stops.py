"""Which panels have a table in the pages, and at which stops of their controls.

{notebook: {panel, counted from 1: {control: how many of its stops, or which values}}}. A control
that is not named stays where it starts. `goal` is False where the panel's goal needs two runs.
"linear": the page computes the states itself (linear_table.py).
"""

STOPS = {
    "00": {1: {"lambda_reg": 18, "damping": 18, "goal": False}},
    "01": {
        1: {
            "lambda_reg": 22,
            "degree": [1, 2, 3, 5, 8, 12, 15],
            "n": [10, 20, 50, 200],
            "noise": [0.1, 0.3],
        },
        2: {"model": 3, "n": [20, 50, 100], "lambda_reg": 15},
        3: {"lambda_reg": 7, "label_noise": [0.0, 0.2, 0.4]},
        4: {"lambda_reg": 7, "label_noise": [0.0, 0.2, 0.4]},
    },
    "02": {
        1: {
            "method": 2,
            "kappa": [1.0, 5.0, 25.0, 100.0],
            "rate": 8,
            "x": [-2.0, -1.0, 0.0, 1.0, 2.0],
            "y": [-2.0, -1.0, 0.0, 1.0, 2.0],
        },
        2: {"bowl": 3, "x": 61},
    },
    "03": {1: {"x": 11, "y": 9, "damping": 6}},
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
    "07": {1: {"loss": 2, "width": 9, "steps": 16}},
    "08": {
        1: {"a": 8, "b": 8, "damping": 9},
        2: {"a": 8, "b": 8, "guard": 7, "damping": 4, "goal": False},
    },
    "10": {1: "linear", 2: {"lambda_reg": 3, "damping": 2, "noise": 2}},
    "11": {1: {"n": 5, "sample": 4, "folds": [2, 5, 10], "seeds": [1, 5, 20], "rule": 2}},
    "12": {2: {"data": 4}},
    "13": {2: {}},
    "14": {2: {}},
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
    "17": {1: {"claim": 14}},
}
