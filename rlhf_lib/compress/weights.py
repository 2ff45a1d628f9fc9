"""The matrices of a model: which there are, what reads them, and how many entries are zero."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils.parametrize import ParametrizationList

from ..arguments import flag, one_of
from .masks import check_model

OTHERS = (None, "prune", "leave")
ROLES = ("table", "layer", "other", "parametrized")
# Names of matrices by the module that says what they are; whatever else has two dimensions is one
# of the "others", for which no rule says whether it is a weight or, say, a table of positions.
_LAYERS = (
    ((nn.Linear, nn.Bilinear, _ConvNd), "weight"),
    ((nn.MultiheadAttention,), r"\w+_proj_weight"),
    ((nn.RNNBase, nn.RNNCellBase), r"weight_(ih|hh|hr)(_l\d+(_reverse)?)?"),
)
_TABLES = (((nn.Embedding, nn.EmbeddingBag), "weight"),)
_VECTORS = (  # of two dimensions only in shape
    ((nn.LayerNorm, nn.RMSNorm), "weight|bias"),
    ((nn.MultiheadAttention,), "bias_[kv]"),
)


@dataclass(frozen=True)
class Matrix:
    """A parameter of two or more dimensions, wherever it is read.

    Attributes:
        role: "layer" or "table" (of an embedding), as its modules tell; "other" where none does;
            "parametrized", computed from other parameters.
        places: (module, name) of everywhere that it is; several for a tied one.
    """

    role: str
    places: list[tuple[nn.Module, str]]

    @property
    def parameter(self) -> nn.Parameter:
        """What is trained."""
        module, name = self.places[0]
        found = module._parameters.get(name, module._parameters.get(f"{name}_orig"))
        assert isinstance(found, nn.Parameter)  # see find_matrices
        return found

    @property
    def value(self) -> Tensor:
        """What the model computes with: masked, quantized."""
        return getattr(*self.places[0])

    @property
    def linear(self) -> bool:
        """Whether it is the weight of one linear layer, and read in that layer's forward alone.

        Not that of attention's output layer: attention reads it without a call of the layer.
        """
        module, _ = self.places[0]
        own = isinstance(module, nn.Linear) and not isinstance(
            module, NonDynamicallyQuantizableLinear
        )
        return own and self.role == "layer" and len(self.places) == 1


def find_matrices(model: nn.Module) -> dict[str, Matrix]:
    """Every matrix of a model by the first of its names, which are those without masks.

    Raises ValueError for parameters without values (of lazy modules, on the meta device), TypeError
    for TorchScript.
    """
    check_model(model)
    found: dict[int, Matrix] = {}
    names: dict[str, int] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                "expected a model in Python, got TorchScript, whose weights are out of reach: take "
                "the model that it was made from"
            )
        for name, key, parameter in _parameters(module):
            full = f"{path}.{name}" if path else name
            if nn.parameter.is_lazy(parameter) or parameter.is_meta:
                where = "on the meta device" if parameter.is_meta else "of a lazy module"
                raise ValueError(
                    f"expected parameters with values, got {full} {where}: give the model its "
                    "values first"
                )
            role = _role(module, name)
            if parameter.ndim < 2 or role is None:
                continue
            role = role if key is parameter else "parametrized"
            if id(key) not in found:
                names[full] = id(key)
                found[id(key)] = Matrix(role, [(module, name)])
            else:
                known = found[id(key)]
                places = [*known.places, (module, name)]
                found[id(key)] = Matrix(min(known.role, role, key=ROLES.index), places)
    return {name: found[i] for name, i in names.items()}


def _parameters(module: nn.Module) -> Iterator[tuple[str, object, Tensor]]:
    """(name, what tells it from others, tensor) of a module's own parameters."""
    if isinstance(module, ParametrizationList):  # the parts of what its owner reads
        return
    for key, parameter in module._parameters.items():
        if parameter is not None:
            name = key.removesuffix("_orig")  # unless it is that of another reparametrization
            yield name if f"{name}_mask" in module._buffers else key, parameter, parameter
    parametrized = getattr(module, "parametrizations", None)
    if isinstance(parametrized, nn.ModuleDict):
        for name, parts in parametrized.items():
            yield name, parts, getattr(module, name)


def _role(module: nn.Module, name: str) -> str | None:
    # Whoever has a model with such layers has imported this module; nobody else should wait for it.
    gpt = sys.modules.get("transformers.pytorch_utils")
    layers = (*_LAYERS, ((gpt.Conv1D,), "weight")) if gpt else _LAYERS
    for role, table in (("layer", layers), ("table", _TABLES), (None, _VECTORS)):
        for kinds, pattern in table:
            if isinstance(module, kinds) and re.fullmatch(pattern, name):
                return role
    return "other"


def chosen_matrices(
    model: nn.Module, *, embeddings: bool = False, others: str | None = None
) -> dict[str, Matrix]:
    """Matrices of layers by name, tables and others if asked for.

    Raises ValueError where there are others that nobody has decided on, and where nothing is left.
    """
    one_of("others", others, OTHERS), flag("embeddings", embeddings)
    matrices = find_matrices(model)
    layers = {n: m for n, m in matrices.items() if m.role == "layer"}
    tables = {n: m for n, m in matrices.items() if m.role == "table" and embeddings}
    rest = {n: m for n, m in matrices.items() if m.role in ("other", "parametrized")}
    if others is None:
        cure = "others='prune' treats them like weights, others='leave' lets them be"
        refuse(model, rest, "matrices in torch's own layers", cure)
    chosen = layers | tables | (rest if others == "prune" else {})
    if not chosen:
        raise ValueError(
            f"expected a model with weight matrices, got {type(model).__name__} with none"
            + ("" if embeddings else " beside its embeddings: pass embeddings=True for those")
        )
    return {n: m for n, m in matrices.items() if n in chosen}


def refuse(model: nn.Module, matrices: dict[str, Matrix], expected: str, cure: str) -> None:
    """Raise ValueError that names matrices, where there are any."""
    if not matrices:
        return
    some = ", ".join(
        f"{name} of {type(m.places[0][0]).__name__}" for name, m in list(matrices.items())[:3]
    )
    more = f" and {len(matrices) - 3} more" if len(matrices) > 3 else ""
    raise ValueError(f"expected {expected}, got {some}{more} in {type(model).__name__}: {cure}")


def refuse_not_finite(matrices: dict[str, Matrix]) -> None:
    """Raise ValueError for what has no magnitude to compare: NaN, infinity, integers."""
    for name, matrix in matrices.items():
        weight = matrix.value
        if not (weight.is_floating_point() or weight.is_complex()):
            raise ValueError(f"expected weights in floats, got {name} in {weight.dtype}")
        if not bool(weight.isfinite().all()):
            raise ValueError(
                f"expected finite weights, got NaN or infinity in {name}: load or train it again"
            )


@dataclass(frozen=True)
class Sparsity:
    """How many of a model's weights are exactly zero.

    Attributes:
        zeros, weights: counts.
        by_name: share of zeros by weight.
    """

    zeros: int
    weights: int
    by_name: dict[str, float]

    @property
    def share(self) -> float:
        return self.zeros / max(self.weights, 1)


@torch.no_grad()
def sparsity(
    model: nn.Module, *, embeddings: bool = False, others: str | None = "prune"
) -> Sparsity:
    """Count the exact zeros in a model's matrices, as it uses them: masked, quantized.

    embeddings: with their tables. others: "leave" counts matrices of torch's own layers alone,
        None refuses a model that has others; see :func:`~rlhf_lib.compress.prune`.
    """
    counts = {}
    for name, matrix in chosen_matrices(model, embeddings=embeddings, others=others).items():
        weight = matrix.value
        weight = weight.dequantize() if is_quantized(weight) else weight
        counts[name] = int((weight == 0).sum()), weight.numel()
    zeros, weights = (sum(column) for column in zip(*counts.values(), strict=True))
    shares = {name: count / max(n, 1) for name, (count, n) in counts.items()}
    return Sparsity(zeros, weights, shares)


def is_quantized(weight: Tensor) -> bool:
    """Whether a weight is one of torchao's quantized tensors."""
    return hasattr(weight, "tensor_data_names")


def refuse_quantized(model: nn.Module, cure: str) -> None:
    """Raise ValueError where a part is in integers already, torchao's or torch.ao's."""
    check_model(model)
    found = [n for n, p in model.named_parameters() if is_quantized(p)]
    found += [n for n, m in model.named_modules() if type(m).__module__.startswith("torch.ao.nn")]
    if found:
        raise ValueError(f"expected a float model, got {found[0]} quantized already: {cure}")
