"""Saved and loaded Gram matrices, what is refused, and memory that is refused before it is used."""

import sys

import pytest
import torch
from cases import randn
from linear_cases import close, labels, small_net

from rlhf_lib import linearize
from rlhf_lib.per_sample import SampleSpace

X, X_HELD, Y, Y_HELD = randn(12, 3), randn(5, 3, seed=1), labels(12, 2), labels(5, 2)


@pytest.fixture
def saved(tmp_path):
    net = small_net()
    linear = linearize(net, (X, Y), (X_HELD, Y_HELD), groups={"head": ["3."]})
    path = tmp_path / "gram.safetensors"
    linear.save(path)
    return net, linear, path


def load(net, path, x=X, held=(X_HELD, Y_HELD), groups=None, **options):
    groups = groups or {"head": ["3."]}
    return linearize(net, (x, Y), held, groups=groups, load=path, **options)


def test_a_loaded_linearization_is_the_same_bit_for_bit(saved, monkeypatch):
    net, linear, path = saved
    monkeypatch.setattr(SampleSpace, "__init__", None)  # nothing is computed
    again = load(net, path)
    for a, b in zip(linear.run(0.1, steps=3), again.run(0.1, steps=3), strict=True):
        assert a.with_(seconds=0) == b.with_(seconds=0)
    assert again.cost == linear.cost
    labelled = linearize(net, (X, 1 - Y), (X_HELD, Y_HELD), groups={"head": ["3."]}, load=path)
    assert labelled.run(0.1).records[-1].loss == linear.run(0.1, labels=1 - Y).records[-1].loss


def test_single_precision_is_half_a_file_and_seven_digits(saved, tmp_path):
    net, linear, path = saved
    small = tmp_path / "small.safetensors"
    linear.save(small, dtype=torch.float32)
    assert small.stat().st_size < path.stat().st_size
    close(load(net, small).run(0.1)[-1].loss, linear.run(0.1)[-1].loss, 1e-6)


def test_what_differs_is_named(saved):
    net, _, path = saved
    with torch.no_grad():
        net[3].weight[0, 0] += 0.01
    with pytest.raises(ValueError, match=r"differs: parameters 3\.weight") as error:
        load(net, path)
    assert "0.weight" not in str(error.value)
    with torch.no_grad():
        net[3].weight[0, 0] -= 0.01
    changed = X.clone()
    changed[4, 1] += 0.1
    with pytest.raises(ValueError, match="differs: training data inputs"):
        load(net, path, x=changed)
    with pytest.raises(ValueError, match="held out data"):
        load(net, path, held=None)
    with pytest.raises(ValueError, match=r"settings loss \(stored cross_entropy, here binary"):
        linearize(
            net,
            (X, torch.stack([Y, Y], 1)),
            (X_HELD, torch.stack([Y_HELD, Y_HELD], 1)),
            loss="binary",
            groups={"head": ["3."]},
            load=path,
        )
    with pytest.raises(ValueError, match="groups"):
        load(net, path, groups={"body": ["0."]})
    other = small_net(hidden=5)
    with pytest.raises(ValueError, match=r"parameters 0\.weight"):
        load(other, path)


def test_rounding_of_another_processor_is_no_difference(saved):
    net, linear, path = saved
    close(load(net, path, x=X * (1 + 1e-7)).run(0.1)[-1].loss, linear.run(0.1)[-1].loss, 1e-12)


def test_whole_numbers_have_to_agree_in_each(tmp_path):
    table = torch.nn.Embedding(9, 2).double()
    ids = labels(12, 9)
    linear = linearize(table, (ids, Y))
    linear.save(tmp_path / "gram")
    ids[3] = (ids[3] + 1) % 9
    with pytest.raises(ValueError, match="training data inputs"):
        linearize(table, (ids, Y), load=tmp_path / "gram")


def test_another_kind_of_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"LinearModel.save has written"):
        load(small_net(), path)


def test_without_safetensors_the_extra_is_named(saved, monkeypatch):
    net, linear, path = saved
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"rlhf-lib\[text\]"):
        linear.save(path)
    with pytest.raises(ImportError, match=r"rlhf-lib\[text\]"):
        load(net, path)


def test_rows_that_do_not_fit_are_made_a_part_of_the_parameters_at_a_time():
    net = small_net(hidden=30)
    whole = linearize(net, (X, Y), (X_HELD, Y_HELD))
    parts = linearize(net, (X, Y), (X_HELD, Y_HELD), max_bytes=12000)
    for name in ("matrices", "held", "start", "reach", "norms"):
        close(getattr(parts.grams, name), getattr(whole.grams, name), 1e-12)
    assert parts.cost > whole.cost + 1


def test_too_much_memory_is_refused_with_the_numbers_before_it_is_used(monkeypatch):
    net = small_net()
    with pytest.raises(MemoryError, match=r"12 x 17 margins for 2 cells .* max_bytes is 0.00 GiB"):
        linearize(net, (X, Y), (X_HELD, Y_HELD), max_bytes=1000)
    seen = []
    monkeypatch.setattr(SampleSpace, "gram", lambda *_: seen.append("computed"))
    with pytest.raises(MemoryError, match=r"rows of parameter 0, shape \(4, 3\), take"):
        linearize(net, (X, Y), (X_HELD, Y_HELD), max_bytes=memory_of(2, 12, 17) + 300)
    assert not seen


def memory_of(cells, first, rows):
    return 2 * 8 * cells * first * rows
