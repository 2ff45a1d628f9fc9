"""What a user adds in one place: a solver, dense or not, a damping rule, a penalty, a task,
a figure.
"""

from itertools import pairwise

import plotly.graph_objects as go
import torch
from cases import classification, cross_entropy_closure, mlp

from rlhf_lib import RLHFOptimizer, newton
from rlhf_lib.panels import Figure, Panel, slider
from rlhf_lib.record import Record
from rlhf_lib.regularizers import Regularizer
from rlhf_lib.solve import DirectResult
from rlhf_lib.step import DenseDirection, Proposal
from rlhf_lib.text import finetune
from rlhf_lib.text.task import Task


def losses(steps=4, **options):
    """The loss before each of some steps, and the optimizer."""
    net = mlp(3, 4, 3)
    optimizer = RLHFOptimizer(net.named_parameters(), **{"regularizer": None, **options})
    closure = cross_entropy_closure(net, *classification(12))
    return [optimizer.step(closure) for _ in range(steps)], optimizer


class Dense:
    """Solver: the whole matrix, and how often it was asked."""

    def propose(self, model, memory):
        system, eye = model.system(), torch.eye(len(model.theta), dtype=model.theta.dtype)
        A = torch.stack([system @ column for column in eye])
        d = torch.linalg.solve(A, -model.gradient)
        quadratic = float(d @ A @ d) - model.damping * float(d @ d)
        times = memory.get("times", 0) + 1
        return Proposal(d, "converged", quadratic, "dense", memory={"times": times})


def test_a_solver_is_one_class():
    found, optimizer = losses(solver=Dense())
    expected, _ = losses(rtol=1e-13, max_iter=500)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert optimizer.record.extra["solver"] == "dense"
    assert optimizer.state["rlhf"]["direction memory"] == {"times": 4}


class Floored(DenseDirection):
    """Dense direction: no eigenvalue below 1."""

    def solve(self, A, b):
        values, vectors = torch.linalg.eigh(A)
        return DirectResult(vectors @ ((vectors.T @ b) / values.clamp(min=1.0)), "converged")


def test_a_dense_direction_is_one_class():
    start = torch.tensor([0.5, 0.2], dtype=torch.float64)

    def saddle(t):
        return t[0] ** 2 - t[1] ** 2 + 0.5 * t[1] ** 4

    first, second, *_, last = newton(saddle, start, direction=Floored(), line_search=True)
    slope = torch.tensor([2 * 0.5, -2 * 0.2 + 2 * 0.2**3], dtype=torch.float64)
    torch.testing.assert_close(second.theta, start - slope / torch.tensor([2.0, 1.0]))
    minimum = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(last.theta, minimum)
    assert last.reason == "converged" and first.extra["jitter"] == 0.0
    found, optimizer = losses(solver=Floored())
    assert found[-1] < found[0] and optimizer.record.extra["solver"] == "Floored"


class Halving:
    """Damping rule: half of it after each step that went downhill."""

    def factor(self, rho, memory):
        memory["good"] = memory.get("good", 0) + (rho > 0)
        return 0.5 if rho > 0 else 4.0


def test_a_damping_rule_is_one_class():
    _, optimizer = losses(damping=1.0, damping_rule=Halving())
    state = optimizer.state["rlhf"]
    assert state["damping memory"] == {"good": 4} and state["damping"] == 1 / 16


class Quartic(Regularizer):
    """Penalty: r(d) = d^4 / 4."""

    def _value(self, d):
        return d**4 / 4

    def _derivative(self, d):
        return d**3

    def _second_derivative(self, d):
        return 3 * d**2


def test_a_penalty_is_one_class():
    found, optimizer = losses(steps=30, regularizer=Quartic(), lambda_reg=0.1)
    free, other = losses(steps=30)
    assert optimizer.record.penalty > 0 and optimizer.record.grad_norm < 1e-3
    size = [
        max(float(p.detach().abs().max()) for group in o.param_groups for p in group["params"])
        for o in (optimizer, other)
    ]
    assert size[0] < size[1] and found[-1] > free[-1]


class Regression(Task):
    """Task: numbers from numbers, told right when they are near."""

    def loss_fn(self, batch):
        outputs = self.module(batch["inputs"])[:, 0]
        return (outputs - batch["labels"]).pow(2).mean(), outputs

    def correct(self, outputs, batch):
        return int(((outputs - batch["labels"]).abs() < 0.1).sum())


def test_a_task_is_one_class():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    data = {"inputs": x, "labels": x @ torch.tensor([1.0, -2.0, 0.5])}
    model = torch.nn.Linear(3, 1)
    first, *_, last = finetune(Regression(model, model, data, data), "rlhf", steps=12)
    assert last.train_loss < 1e-3 * first.train_loss and last.val_accuracy == 1.0


def falls(records, values):
    """Figure: by how much the loss fell in each step."""
    found = [a.loss - b.loss for a, b in pairwise(records)]
    return [go.Scatter(x=list(range(1, len(records))), y=found)]


def test_a_figure_is_one_function():
    def run(rate):
        yield from (Record(step=i, loss=rate**i) for i in range(3))

    figure = Figure(falls, x_title="step", y_title="fall", y_range=(0, 1))
    rate = slider("rate", "rate", low=0.0, high=1.0, step=0.1, value=0.2)
    panel = Panel(run, title="Falls", controls=[rate], figures=[figure])
    panel.run(rate=0.5)
    (line,) = figure.widget.data
    assert (line["x"], line["y"]) == ([1, 2], [0.5, 0.25])
