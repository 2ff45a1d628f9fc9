"""Memory counted by tensors and by what the process holds, against sizes known beforehand."""

import os

import pytest
import torch

from rlhf_course.cost.memory import held_bytes, in_own_process, tensor_bytes
from rlhf_lib import HessianOperator

N = 1000
BYTES = 4 * N


def test_the_peak_is_of_what_lives_at_one_time():
    def one_after_another():
        for _ in range(3):
            torch.zeros(N)

    def together():
        return [torch.zeros(N) for _ in range(3)]

    assert tensor_bytes(one_after_another) <= 2 * BYTES  # the next is made before the last is gone
    assert tensor_bytes(together) == 3 * BYTES


def test_what_was_there_before_does_not_count():
    x = torch.zeros(N)
    assert tensor_bytes(lambda: x.view(10, -1).add_(1)) == 0
    assert tensor_bytes(lambda: (x + 1).view(10, -1)) == BYTES


def test_what_backward_passes_make_counts():
    x = torch.ones(N, requires_grad=True)
    with_graph = tensor_bytes(lambda: torch.autograd.grad(x.sin().sum(), x))
    assert with_graph >= 2 * BYTES  # sin x, and the gradient

    def product():
        return HessianOperator(lambda: x.sin().sum(), [x]) @ torch.ones(N)

    assert with_graph <= tensor_bytes(product) < 12 * BYTES


def test_the_peak_of_memory_is_the_peak():
    # 64 MiB, gone at once
    assert 60 < held_bytes(lambda: torch.ones(64 * 2**18)) / 2**20 < 80


def fail(what):
    raise ValueError(what)


def test_a_process_of_its_own_answers_or_says_why_not():
    assert in_own_process(os.getpid) != os.getpid()
    with pytest.raises(ValueError, match="no such thing"):
        in_own_process(fail, "no such thing")
    with pytest.raises(RuntimeError):
        in_own_process(os._exit, 1)
