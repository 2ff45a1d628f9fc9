"""Attention heads and neurons of a BERT: what they are worth, and matrices without them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..arguments import one_of
from ..objective.task_loss import Outputs, TaskLoss
from ..per_sample.loss_factor import combination, output_factor

KINDS = ("heads", "neurons")
# Names inside a layer: matrices that make a unit's values, and the one that reads them.
_LAYOUTS = {
    "heads": (
        (
            ("attention.self.query", "attention.self.key", "attention.self.value"),
            "attention.output.dense",
            "attention.self",
        ),
        (
            ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "attention.out_lin",
            "attention",
        ),
    ),
    "neurons": ((("intermediate.dense",), "output.dense", None), (("ffn.lin1",), "ffn.lin2", None)),
}


@dataclass(frozen=True)
class Units:
    """The heads, or the neurons, of one layer.

    Attributes:
        name: of the layer. size: values of one unit (a head's width, 1 for a neuron).
        inward: linear layers whose rows belong to the units. outward: whose columns do.
        attention: the module that keeps the number of heads, None for neurons.
    """

    name: str
    size: int
    inward: list[nn.Linear] = field(repr=False)
    outward: nn.Linear = field(repr=False)
    attention: nn.Module | None = field(repr=False)

    @property
    def count(self) -> int:
        return self.outward.in_features // self.size

    def columns(self, keep: Tensor) -> Tensor:
        """Indices of the kept units' values, from the units' own indices."""
        steps = torch.arange(self.size, device=keep.device)
        return (keep[:, None] * self.size + steps).reshape(-1)

    @torch.no_grad()
    def magnitude(self) -> Tensor:
        """Sum of squares of all weights that make and read a unit's values, (count,)."""
        total = self.outward.weight.square().sum(0)
        for linear in self.inward:
            total = total + linear.weight.square().sum(1)
        return total.view(self.count, self.size).sum(1)

    @torch.no_grad()
    def keep(self, units: Tensor) -> None:
        """Rebuild the layers with these units alone, in this order."""
        index = self.columns(units)
        for linear in self.inward:
            bias = None if linear.bias is None else linear.bias[index]
            resize(linear, linear.weight[index], bias)
        resize(self.outward, self.outward.weight[:, index], self.outward.bias)
        self.count_heads()

    def count_heads(self) -> None:
        """Tell the attention module how many heads its matrices have."""
        width = self.outward.in_features
        values = {"num_attention_heads": self.count, "n_heads": self.count, "all_head_size": width}
        for attribute, value in values.items():
            if hasattr(self.attention, attribute):
                setattr(self.attention, attribute, value)


def resize(linear: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Give a linear layer other parameters, and the numbers of features that they have."""
    required = linear.weight.requires_grad
    linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=required)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=linear.bias.requires_grad)
    linear.out_features, linear.in_features = weight.shape


def find_units(model: nn.Module, kind: str) -> list[Units]:
    """Heads or neurons of every layer of a BERT, RoBERTa or DistilBERT, in their order.

    Raises ValueError for another kind, TypeError for a model built otherwise.
    """
    one_of("structured", kind, (*KINDS, None))
    found = []
    for name, layer in model.named_modules():
        for inward, outward, attention in _LAYOUTS[kind]:
            paths = (*inward, outward)
            parts = [p for p in (_submodule(layer, q) for q in paths) if isinstance(p, nn.Linear)]
            if len(parts) == len(paths):
                module = None if attention is None else _submodule(layer, attention)
                size = 1 if module is None else vars(module)["attention_head_size"]
                found.append(Units(name, size, parts[:-1], parts[-1], module))
    if not found:
        raise TypeError(
            f"expected a BERT, RoBERTa or DistilBERT, whose layers have {kind}, got "
            f"{type(model).__name__}: prune single weights with structured=None"
        )
    return found


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


@torch.enable_grad()
def gate_saliencies(units: list[Units], task: TaskLoss) -> list[Tensor]:
    """(1/2) G_kk for a gate k on every unit, (count,) for each layer.

    A gate multiplies the unit's values and is 1; to remove the unit is to move its gate by -1, so
    this is the rise of the quadratic model with the diagonal of the Gauss-Newton matrix of the
    gates: LeCun's saliency for a unit (gates on heads: Michel, Levy and Neubig, 2019, who take the
    gradient). One backward pass for each direction in which a sample's loss curves, and one more
    that compares a combination of these.

    Raises ValueError where the samples act on one another inside the model.
    """
    gates: list[Tensor] = []
    totals = [torch.zeros(u.count, dtype=u.outward.weight.dtype) for u in units]

    def hook(unit: Units) -> Callable[[nn.Module, tuple], tuple]:
        def multiply(module: nn.Module, inputs: tuple) -> tuple:
            x = inputs[0]  # (n, ..., width)
            gate = x.new_ones(len(x), *[1] * (x.ndim - 2), unit.count, requires_grad=True)
            gates.append(gate)
            return (x * gate.repeat_interleave(unit.size, -1), *inputs[1:])

        return multiply

    task.compare()
    with ExitStack() as stack:
        for unit in units:
            handle = unit.outward.register_forward_pre_hook(hook(unit))
            stack.callback(handle.remove)
        passes = task.evaluate()
        while True:
            gates.clear()
            batch = next(passes, None)
            if batch is None:
                break
            weight, loss, outputs = batch
            if len(gates) != len(units):
                raise ValueError(
                    f"expected each of {len(units)} layers to be used once in the loss, got "
                    f"{len(gates)} uses"
                )
            factor = output_factor(weight * loss, outputs)
            n = len(outputs[0])
            if any(len(gate) != n for gate in gates):
                raise ValueError(_MIXED)
            if not factor:
                continue
            signs, along = combination(factor)
            combined = [torch.zeros_like(total) for total in totals]
            for alpha, direction in zip(signs, factor, strict=True):
                slopes = torch.autograd.grad(outputs, gates, direction, retain_graph=True)
                for total, sums, slope in zip(totals, combined, slopes, strict=True):
                    rows = slope.flatten(1)  # (n, count)
                    total += rows.square().sum(0).to(total) / 2
                    sums += alpha.to(rows) @ rows
            _refuse_mixed(outputs, gates, along, combined)
    return totals


_MIXED = (
    "expected samples along the first dimension of every layer, each with outputs of its own, got "
    "samples that act on one another (batch normalization in training, in-batch negatives, time "
    "first?): call model.eval(), or take by='magnitude'"
)


def _refuse_mixed(
    outputs: Outputs, gates: list[Tensor], along: list[Tensor], combined: list[Tensor]
) -> None:
    """Raise ValueError where a combination of the rows is not the slope along it."""
    truth = torch.autograd.grad(outputs, gates, along, retain_graph=True)
    for found, slope in zip(combined, truth, strict=True):
        whole = slope.flatten(1).sum(0)
        if float((found - whole).norm()) > torch.finfo(slope.dtype).eps ** 0.5 * float(
            whole.norm()
        ):
            raise ValueError(_MIXED)
