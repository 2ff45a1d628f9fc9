"""Ctrl-C at any line of a step: parameters, buffers, state and record are all old, or all new."""

import copy
import sys
from contextlib import suppress

import pytest
import torch
from cases import classification, cross_entropy_closure, flat
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rlhf_lib import RLHFOptimizer

X, Y = classification(6)


def made():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Linear(2, 3)).double()
    optimizer = RLHFOptimizer(
        net.parameters(), lambda_reg=0.01, warm_start=0.5, max_iter=2, damping=0.1
    )
    optimizer.step(cross_entropy_closure(net, X, Y))
    return net, optimizer


def state(net, optimizer):
    rlhf = {k: v for k, v in optimizer.state["rlhf"].items() if k != "seconds"}
    return [
        flat(net.parameters()).tolist(),
        [b.tolist() for b in net.buffers()],
        repr(rlhf),
        optimizer.record.step,
    ]


def interrupted(optimizer, closure, at):
    """A step with KeyboardInterrupt at the line event of that number; how many there were."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at:
                raise KeyboardInterrupt
        return trace

    tracer = sys.gettrace()
    # Around it, what torch's own context managers may leave behind when they are interrupted.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), suppress(KeyboardInterrupt):
        try:
            sys.settrace(trace)
            optimizer.step(closure)
        finally:
            sys.settrace(tracer)
    return lines


@pytest.mark.parametrize("every", [199, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupted_step_is_whole(every):
    net, optimizer = made()
    closure = cross_entropy_closure(net, X, Y)
    parts = [net.state_dict(), optimizer.state_dict(), optimizer.record]
    parts = copy.deepcopy(parts)
    old = state(net, optimizer)
    lines = interrupted(optimizer, closure, at=0)
    new = state(net, optimizer)
    assert new != old and optimizer.record.accepted and lines > 500
    outcomes = set()
    # The last lines, where things are assigned, all of them.
    for at in {*range(1, lines, every), *range(max(1, lines - 40), lines + 1)}:
        net.load_state_dict(parts[0])
        optimizer.load_state_dict(copy.deepcopy(parts[1]))
        optimizer.record = parts[2]
        interrupted(optimizer, closure, at)
        found = state(net, optimizer)
        assert found in (old, new), f"line event {at} of {lines}"
        outcomes.add(found == new)
    assert False in outcomes
