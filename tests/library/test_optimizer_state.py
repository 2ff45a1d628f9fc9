"""What others' tools see of the optimizers: states, copies, checkpoints, plain numbers."""

import copy
import dataclasses
import io
import json
import pickle
import tempfile
import warnings

import numpy as np
import pytest
import torch
from cases import classification, cross_entropy_closure, cross_entropy_on, flat, mlp
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from rlhf_lib import RLHFOptimizer
from rlhf_lib.regularizers import L2SP

X, Y = classification(12, classes=3)


@pytest.fixture
def net():
    return mlp(3, 4, 3)


def make_run(net, **options):
    optimizer = RLHFOptimizer(
        net.named_parameters(), lambda_reg=0.02, damping=1e-3, max_iter=5, **options
    )
    return optimizer, cross_entropy_closure(net, X, Y)


def directly(net, optimizer, other, resumed):
    resumed.load_state_dict(optimizer.state_dict())


def through_file(net, optimizer, other, resumed):
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))


def through_checkpoint(net, optimizer, other, resumed, flatten=False):
    """As torch.distributed.checkpoint loads: into the places of a fresh optimizer's state."""
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = get_optimizer_state_dict(net, optimizer, options=options)
        checkpoint.save(saved, checkpoint_id=folder, no_dist=True)
        fresh = get_optimizer_state_dict(other, resumed, options=options)
        checkpoint.load(fresh, checkpoint_id=folder, no_dist=True)
    set_optimizer_state_dict(other, resumed, fresh, options=options)


def through_flat_checkpoint(*args):
    through_checkpoint(*args, flatten=True)


@pytest.mark.parametrize("regularizer", ["l2sp", "l1sp", "l1"])
@pytest.mark.parametrize(
    "way", [directly, through_file, through_checkpoint, through_flat_checkpoint]
)
def test_a_state_dict_continues_bit_for_bit(net, regularizer, way):
    optimizer, closure = make_run(net, regularizer=regularizer, warm_start=0.9)
    for _ in range(3):
        optimizer.step(closure)
    # Made where the parameters are now: the centre has to come with the state.
    other = mlp(3, 4, 3, seed=1)
    other.load_state_dict(net.state_dict())
    resumed, resumed_closure = make_run(other, regularizer=regularizer, warm_start=0.9)
    way(net, optimizer, other, resumed)
    for _ in range(4):
        optimizer.step(closure)
        resumed.step(resumed_closure)
        assert torch.equal(flat(other.parameters()), flat(net.parameters()))
        ours, theirs = optimizer.record, resumed.record
        assert ours.with_(seconds=0, cost=0) == theirs.with_(seconds=0, cost=0)
        assert ours.cost == theirs.cost and ours.step == theirs.step


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_steps_its_own_model_also_behind_a_scheduler(net, copied):
    optimizer, closure = make_run(net, regularizer="l2sp", warm_start=0.9)
    torch.optim.lr_scheduler.StepLR(optimizer, 5)  # which wraps the optimizer's step
    optimizer.register_step_post_hook(lambda *args: None)
    optimizer.step(closure)
    other, twin = copied((net, optimizer))
    theta = flat(net.parameters())
    twin.step(cross_entropy_closure(other, X, Y))
    assert torch.equal(flat(net.parameters()), theta)
    optimizer.step(closure)
    assert torch.equal(flat(net.parameters()), flat(other.parameters()))


def test_the_state_of_another_optimizer_is_refused_and_changes_nothing(net):
    optimizer, closure = make_run(net, regularizer="l2sp")
    optimizer.step(closure)
    before = copy.deepcopy(optimizer.state_dict())
    adam = torch.optim.AdamW(net.named_parameters())
    plain = make_run(net, regularizer="l2")[0].state_dict()
    wider = make_run(mlp(4, 4, 3), regularizer="l2sp")[0].state_dict()
    for state, message in (
        (adam.state_dict(), "of another optimizer"),
        (plain, r"expected center of shape \(4, 3\)"),
        (wider, r"expected center of shape \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        assert torch.equal(after["state"][0]["center"], before["state"][0]["center"])


def test_a_memory_that_json_cannot_hold_is_named(net):
    optimizer, _ = make_run(net)
    optimizer.state["rlhf"]["direction memory"] = {"matrix": torch.eye(2)}
    with pytest.raises(TypeError, match="saved as JSON: Object of type Tensor"):
        optimizer.state_dict()


@pytest.mark.parametrize("number", [np.float32, torch.tensor])
def test_records_are_plain_numbers_whatever_came_in(net, number):
    optimizer = RLHFOptimizer(
        [{"params": net[0].parameters(), "lr": number(0.5)}, {"params": net[2].parameters()}],
        lr=number(1.0),
        lambda_reg=number(0.1),
        regularizer="l2",
        damping=number(0.5),
        radius=number(1.0),
        count=lambda batch: torch.tensor(float(len(batch[0]))),
    )
    optimizer.param_groups[1]["lambda_reg"] = number(0.2)
    for _ in range(2):
        assert type(optimizer.step(cross_entropy_on(net), batches=[(X, Y)])) is float
        json.dumps(dataclasses.asdict(optimizer.record))
    json.dumps(optimizer.state["rlhf"])


def test_groups_may_be_empty_and_a_center_of_its_own_takes_no_more(net):
    optimizer = RLHFOptimizer(
        [{"params": []}, {"params": net.parameters()}], regularizer="l2sp", lambda_reg=0.1
    )
    optimizer.add_param_group({"params": []})
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step(cross_entropy_closure(net, X, Y))
    theta = flat(net.parameters())
    optimizer = RLHFOptimizer(net.parameters(), regularizer=L2SP(center=theta), lambda_reg=0.1)
    with pytest.raises(ValueError, match="expected a center of shape"):
        optimizer.add_param_group(
            {"params": [torch.zeros(2, 2, dtype=theta.dtype).requires_grad_()]}
        )
    optimizer.step(cross_entropy_closure(net, X, Y))
    with pytest.raises(ValueError, match="at least one parameter"):
        RLHFOptimizer([{"params": []}])
