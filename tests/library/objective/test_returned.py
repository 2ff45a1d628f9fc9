"""What a closure may return, and what it is told about anything else."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from rlhf_lib.objective.returned import split

LOSS, LOGITS, START = torch.tensor(2.0), torch.ones(3, 2), torch.zeros(3)
Named = namedtuple("Named", "loss logits hidden_states")


@pytest.mark.parametrize(
    ("returned", "outputs"),
    [
        (LOSS, ()),
        (LOSS.view(1, 1), ()),
        ((LOSS, LOGITS), (LOGITS,)),
        ([LOSS, (LOGITS, START)], (LOGITS, START)),
        ((LOSS, None), ()),
        ({"loss": LOSS, "logits": LOGITS, "hidden_states": (START,)}, (LOGITS,)),
        ({"loss": LOSS, "start_logits": START, "end_logits": START, "mems": None}, (START, START)),
        (SimpleNamespace(loss=LOSS, logits=LOGITS), (LOGITS,)),
        (Named(LOSS, LOGITS, START), (LOGITS,)),
        ((LOSS, {"logits": LOGITS}), (LOGITS,)),
        ((LOSS, SimpleNamespace(logits=LOGITS)), (LOGITS,)),
    ],
)
def test_loss_and_outputs_are_found(returned, outputs):
    loss, found = split(returned)
    assert loss.shape == () and loss == 2
    assert len(found) == len(outputs) and all(a is b for a, b in zip(found, outputs, strict=True))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (2.0, TypeError, "got float"),
        (None, TypeError, "got NoneType"),
        ((2.0, LOGITS), TypeError, "got tuple of float, Tensor"),
        ((LOSS, LOGITS, START), TypeError, "got tuple of Tensor, Tensor, Tensor"),
        ((LOSS, "logits"), TypeError, "got tuple of Tensor, str"),
        ({"logits": LOGITS}, TypeError, r"got dict\(logits\) without one: give the model labels"),
        (torch.ones(3), ValueError, r"scalar loss, got shape \(3,\): take its mean"),
    ],
)
def test_anything_else_is_described(returned, error, message):
    with pytest.raises(error, match=message):
        split(returned)
