"""Which panels have a table in the pages, and at which stops of their controls.

{notebook: {panel, counted from 1: {control: how many of its stops, or which values}}}. A control
that is not named stays where it starts. `goal=False` stands where the panel's goal needs two runs.
"""

STOPS = {
    "00": {1: {"lambda_reg": 18, "damping": 18, "goal": False}},
    "03": {1: {"x": 11, "y": 9, "damping": 6}},
}
