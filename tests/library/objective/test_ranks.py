"""Several processes on loopback agree with one, and an end or error of one ends all."""

import copy
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rank_cases
import torch
from cases import close

from rlhf_lib.objective.ranks import Ranks, as_ranks, connect
from rlhf_lib.optimizer import RLHFOptimizer

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
ALONE = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def start(how, size, timeout, folder):
    """Processes that are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rank_cases"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(target=rank_cases.started, args=(how, rank, size, port, timeout, folder))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def together(request, tmp_path_factory):
    """(number of ranks, folder of what they saved); two by torchrun as a user starts it."""
    folder = tmp_path_factory.mktemp("ranks")
    if request.param == 3:
        for process in start("agree", 3, 60.0, folder):
            process.join(120)
            assert process.exitcode == 0, (folder / "agree-0.txt").read_text()
        return 3, folder
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(FOLDER / "rank_cases.py"),
        str(folder),
    ]
    done = subprocess.run(
        command, env=os.environ | ALONE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return 2, folder


def saved(together, name):
    size, folder = together
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in range(size)]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no list of threads here")
def test_no_thread_of_the_group_outlives_it(together):
    """One that does meets the end of the interpreter, and now and then aborts the process."""
    size, folder = together
    if size != 2:
        pytest.skip("the processes of the other group are told apart by their exit codes")
    for rank in range(size):
        threads = (folder / f"threads-{rank}.txt").read_text()
        assert "python" in threads and "gloo" not in threads, threads


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_ragged_shards_agree_with_one_process(together, dtype):
    alone = rank_cases.solved(dtype)
    for found in saved(together, dtype):
        assert found.keys() == alone.keys()
        for name, expected in alone.items():
            close(found[name], expected, rtol=TOLERANCE[dtype], atol=0)


def test_a_rank_without_samples_changes_nothing(together):
    alone = rank_cases.solved(torch.float64)
    for found in saved(together, "empty"):
        for name, expected in alone.items():
            close(found[name], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [*map(str, TOLERANCE), "empty"])
def test_all_ranks_have_the_same_bits(together, name):
    first, *others = saved(together, name)
    for other in others:
        assert all(torch.equal(first[key], other[key]) for key in first)


def test_one_all_reduce_for_each_product_and_for_loss_and_gradient_together(together):
    for made in saved(together, "counts"):
        assert made == {
            "samples": 1,
            "loss and gradient": 1,
            "product of HessianOperator": 1,
            "product of GaussNewtonOperator": 1,
            "line-search loss": 1,
        }


def test_an_error_on_one_rank_is_raised_on_all_and_they_go_on(together):
    own, *others = (raised[1] for raised in enumerate(saved(together, "raised")))
    assert own["closure"] == "RankError: rank 1 raised ArithmeticError: out of range"
    assert others[0]["closure"] == "ArithmeticError: out of range"
    assert own["not counted"].startswith("TypeError: cannot count the samples of a batch: expected")
    for raised in others:
        assert raised["not counted"].startswith("RankError: rank 0 raised TypeError: cannot count")
    for raised in (own, *others):
        assert raised["unchanged"] is True
        assert raised["nan"].startswith("FloatingPointError: the loss is not finite")
        assert "positive number of samples" in raised["no samples"]
        assert "do not agree" in raised["other vector"] and "do not agree" in raised["other start"]
        assert "after the broadcast" not in raised
        assert "number of trained parameters" in raised["other sizes"]
        assert "each rank would go its own way" in raised["data parallel alone"]
        assert "data parallel together" not in raised


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """how -> (exit code, message, seconds) of rank 0 after rank 1 has failed in that way."""
    folder = tmp_path_factory.mktemp("failures")
    pairs = {how: start(how, 2, 5.0, folder) for how in ("die", "hang", "raise")}
    found = {}
    began = time.monotonic()
    for how, (first, second) in pairs.items():
        first.join(60)
        code, seconds = first.exitcode, time.monotonic() - began
        for process in (first, second):
            process.kill()
            process.join()
        found[how] = code, (folder / f"{how}-0.txt").read_text(), seconds
    return found


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("die", "RankError: rank 1 no longer answers: it has ended, or was busy for longer than"),
        ("hang", "RankError: rank 1 no longer answers: it has ended, or was busy for longer than"),
        ("raise", "RankError: rank 1 raised KeyError: 'a column of the table'"),
    ],
)
def test_a_rank_that_fails_ends_the_other_with_a_clear_error(left_alone, how, message):
    code, text, seconds = left_alone[how]
    assert code not in (0, None) and message in text
    assert seconds < 60  # a hang would last until the processes are killed


@pytest.fixture
def alone(monkeypatch):
    """A group of this process only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for key, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }.items():
        monkeypatch.setenv(key, value)
    with connect("gloo", timeout=10) as ranks:
        yield ranks


def test_what_ranks_cannot_do_is_refused(alone):
    net, loss_fn, _, _ = rank_cases.problem(torch.float64)
    with pytest.raises(ValueError, match="solver='dual' needs the rows of all samples"):
        RLHFOptimizer(net.parameters(), solver="dual", process_group=alone)
    with pytest.raises(ValueError, match="the ranks would go apart"):
        RLHFOptimizer(net.parameters(), preconditioner="fisher", process_group=alone)
    with pytest.raises(TypeError, match="got int"):
        RLHFOptimizer(net.parameters(), process_group=2)
    optimizer = RLHFOptimizer(net.parameters(), process_group=alone)
    with pytest.raises(ValueError, match=r"expected batches=\.\.\. with a process group"):
        optimizer.step(lambda: loss_fn(None))


def test_auto_is_cg_over_ranks_and_a_copied_optimizer_keeps_them(alone):
    net, loss_fn, batches, _ = rank_cases.problem(torch.float64)
    optimizer = RLHFOptimizer(net.parameters(), solver="auto", process_group=alone)
    optimizer.step(loss_fn, batches=batches)
    assert optimizer.record.extra["solver"] == "cg"
    assert copy.deepcopy(optimizer).ranks is alone


def test_torchs_own_group_will_do(alone):
    ranks = as_ranks(torch.distributed.group.WORLD)
    assert isinstance(ranks, Ranks) and (ranks.rank, ranks.size) == (0, 1)


@pytest.mark.parametrize("value", [0.1, -3e7, float("inf"), float("-inf"), 1 / 3])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_scalar_beside_a_vector_keeps_double_precision(alone, value, dtype):
    like = [torch.ones(3, dtype=dtype)]
    vector, scalar = alone.add(lambda: (like[0], value), like)
    assert torch.equal(vector, like[0])
    assert scalar == pytest.approx(value, rel=1e-14)


def test_what_is_not_finite_is_called_so(alone):
    net, loss_fn, batches, _ = rank_cases.problem(torch.float64)
    with torch.no_grad():
        next(net.parameters()).view(-1)[0] = float("nan")
    optimizer = RLHFOptimizer(net.parameters(), process_group=alone)
    with pytest.raises(FloatingPointError, match="not finite"):
        optimizer.step(loss_fn, batches=batches)


def test_without_torchrun_the_error_says_how_to_start(monkeypatch):
    for key in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(RuntimeError, match="torchrun --standalone --nproc-per-node 2"):
        connect()
    with pytest.raises(RuntimeError, match="there is no process group"):
        Ranks()
