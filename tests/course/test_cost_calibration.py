"""Constants are found again from seconds made of them; the choice of a solver goes by them."""

import pytest
import torch
from cases import classification, cross_entropy_closure, few_cases, mlp
from hypothesis import given
from hypothesis import strategies as st

from rlhf_course.cost import measured as costs
from rlhf_course.cost.calibration import Machine
from rlhf_course.cost.model import PASSES, Transformer
from rlhf_lib import GaussNewtonOperator
from rlhf_lib.regularizers import L2
from rlhf_lib.step import Cheapest, LocalModel
from rlhf_lib.step.directions import choose
from rlhf_lib.work import Work, calibrated, known

SMALL = Transformer(128, 2, 2, 512)
LARGE = Transformer(384, 6, 12, 1536)
WORKS = [
    shape.work(what, batch, tokens)
    for shape, batch, tokens in ((SMALL, 8, 32), (SMALL, 16, 128), (LARGE, 4, 16), (LARGE, 16, 32))
    for what in PASSES
]
TRUE = Machine(flop=5e-12, operand=6e-10, element=1e-10, vector=5e-10, call=1e-6)


def test_seconds_are_the_sum_of_their_parts():
    work = Work(1e9, 1e6, 1e6, 1e6, 100)
    assert TRUE.parts(work) == pytest.approx(
        {"flop": 5e-3, "operand": 6e-4, "element": 1e-4, "vector": 5e-4, "call": 1e-4}
    )
    assert TRUE.seconds(work) == pytest.approx(6.3e-3)


def test_constants_are_found_again():
    found = Machine.fit([(work, TRUE.seconds(work)) for work in WORKS])
    assert found.constants == pytest.approx(TRUE.constants, rel=1e-6)


@few_cases
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=5, max_size=5).filter(any))
def test_no_constant_is_negative_and_zeros_are_found(factors):
    machine = Machine(*(f * c for f, c in zip(factors, TRUE.constants, strict=True)))
    runs = [(work, machine.seconds(work)) for work in WORKS if machine.seconds(work) > 0]
    found = Machine.fit(runs)
    assert min(found.constants) >= 0
    for work, seconds in runs:
        assert found.seconds(work) == pytest.approx(seconds, rel=1e-5)


def test_noise_moves_predictions_by_no_more_than_itself():
    generator = torch.Generator().manual_seed(0)
    noise = 1 + 0.1 * (2 * torch.rand(len(WORKS), generator=generator) - 1)
    seen = [TRUE.seconds(work) * float(f) for work, f in zip(WORKS, noise, strict=True)]
    found = Machine.fit(zip(WORKS, seen, strict=True))
    for work in WORKS:
        assert found.seconds(work) == pytest.approx(TRUE.seconds(work), rel=0.1)


def test_slack_is_found_again_and_scales_activations_only():
    memories = [SMALL.memory(what, 16, 64) for what in ("gradient", "Hv", "cg Gv")]
    machine = Machine(flop=1e-11, slack=1.4)
    peaks = [(memory, machine.peak_bytes(memory)) for memory in memories]
    found = Machine.fit([(work, TRUE.seconds(work)) for work in WORKS], peaks)
    assert found.slack == pytest.approx(1.4)
    assert machine.peak_bytes({"weights": 10, "vectors": 20, "table": 5, "graph": 100}) == 175
    assert Machine(flop=1.0).peak_bytes(memories[0]) == sum(memories[0].values())


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="at least 5 runs"):
        Machine.fit([(WORKS[0], 1.0)] * 4)
    with pytest.raises(ValueError, match="seconds above 0"):
        Machine.fit([(WORKS[0], 0.0)] * 5)
    with pytest.raises(ValueError, match="one above 0"):
        Machine()
    with pytest.raises(ValueError, match="at least 0"):
        Machine(flop=-1.0, call=1.0)
    with pytest.raises(ValueError, match="slack of at least 1"):
        Machine(flop=1.0, slack=0.5)


# The choice of a solver.


@pytest.fixture
def model():
    net = mlp(3, 4, 3)
    params = list(net.parameters())
    curvature = GaussNewtonOperator(cross_entropy_closure(net, *classification(10)), params)
    theta = torch.cat([p.detach().reshape(-1) for p in params])
    penalty = L2(weight=0.0).on(list(net.named_parameters()))
    return LocalModel(theta, curvature.gradient, curvature, penalty)


def test_the_machine_is_known_within_the_block_only():
    assert known() is None
    with calibrated(TRUE):
        with calibrated(Machine(flop=1.0)) as inner:
            assert known() is inner
        assert known() is TRUE
    with pytest.raises(RuntimeError), calibrated(TRUE):
        raise RuntimeError
    assert known() is None


def test_with_flops_alone_the_choice_is_that_of_the_counts(model):
    for expected in (1, 2, 3, 5, 10, 50):
        space, note = choose(model, expected)
        with calibrated(Machine(flop=1e-9)):
            again, seconds = choose(model, expected)
        assert (space is None) == (again is None)
        assert "gradients" in note and "seconds" in seconds


def test_where_calling_is_what_takes_time_products_are_dear(model):
    by_counts, _ = choose(model, 2)
    with calibrated(Machine(call=1e-6)):
        by_calls, note = choose(model, 2)
    assert by_counts is None and by_calls is not None and note.startswith("dual: 20 rows take")


def test_where_memory_is_what_takes_time_rows_are_dear(model):
    """Unlike 50 products' multiplications, their vectors are few."""
    by_counts, _ = choose(model, 50)
    with calibrated(Machine(vector=1.0, element=1.0)):
        by_memory, _ = choose(model, 1)
    assert by_counts is not None and by_memory is None


def test_the_solver_auto_says_that_it_went_by_seconds(model):
    model.damping = 0.1
    with calibrated(TRUE):
        found = Cheapest().propose(model, {})
    assert "seconds, up to 50 products" in found.solver


# Measured.


def test_passes_are_measured_and_memory_is_seen():
    shape = Transformer(16, 1, 2, 32, vocabulary=30, positions=8)
    found = costs.seconds(shape, 2, 4, repeats=1, cg_products=2)
    assert list(found) == [*PASSES, "cg Gv"] and min(found.values()) >= 0


@pytest.mark.slow
def test_a_fresh_measurement_is_of_the_predicted_size():
    """A generous factor: the machine may be busy with other work."""
    runs = [
        (SMALL.work(what, *case), s)
        for case in ((4, 16), (8, 64))
        for what, s in costs.seconds(SMALL, *case, repeats=3).items()
    ]
    wide = Transformer(256, 2, 4, 1024)
    runs += [(wide.work(what, 4, 32), s) for what, s in costs.seconds(wide, 4, 32).items()]
    machine = Machine.fit(runs)
    for what, seconds in costs.seconds(SMALL, 4, 64, repeats=3).items():
        assert 1 / 3 < machine.seconds(SMALL.work(what, 4, 64)) / seconds < 3


@pytest.mark.slow
def test_measured_memory_is_of_the_counted_size():
    try:
        seen = costs.peak_bytes(SMALL, 16, 64, "cg Gv")
    except OSError as error:
        pytest.skip(str(error))
    counted = sum(SMALL.memory("cg Gv", 16, 64).values())
    assert 0.8 < seen / counted < 1.6
