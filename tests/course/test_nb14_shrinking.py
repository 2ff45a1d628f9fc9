"""Notebook 14's model and its small versions, on a tiny random BERT."""

import copy

import pytest
import torch

from rlhf_course.experiments.nb14_shrinking import WAYS, Shrinking
from rlhf_lib import compress
from rlhf_lib.text import load_model

pytestmark = pytest.mark.filterwarnings("ignore:.*are cut:UserWarning")  # this tokenizer spells


@pytest.fixture(scope="module")
def lab():
    return Shrinking(24, 16, epochs=1, name="tiny-random")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_a_smaller_model_and_leaves_the_whole_one_alone(lab, way):
    before = copy.deepcopy(lab.model.state_dict())
    models = list(lab.smaller(way, fraction=0.5, bits=4))
    assert len(models) == (3 if way == "teacher" else 1)
    found = lab.measure(models[-1])
    assert 0 <= found["accuracy"] <= 1 and found["loss"] > 0 and found["bytes"] > 0
    assert all(torch.equal(before[k], v) for k, v in lab.model.state_dict().items())
    if way.startswith("by "):
        assert found["zeros"] == pytest.approx(0.5, abs=0.05)
    elif way in ("heads", "neurons"):  # so few integers are less than what says how to read them
        assert found["bytes"] < lab.measure(lab.model)["bytes"]


def test_the_whole_model_is_trained_and_can_be_differentiated_below():
    lab = Shrinking(24, 16, epochs=1, name="tiny-random")
    fresh, _ = load_model("classification", "tiny-random")
    pairs = zip(lab.model.parameters(), fresh.parameters(), strict=True)
    same = [torch.equal(a, b) for a, b in pairs]
    assert not all(same) and any(same)  # the embeddings stay
    assert all(p.requires_grad for p in lab.model.parameters())


def test_measures_are_those_of_the_model(lab):
    inputs = {k: v for k, v in lab.validation.items() if k != "labels"}
    with torch.no_grad():
        logits = lab.model(**inputs).logits
    labels = lab.validation["labels"]
    found = lab.measure(lab.model)
    assert found["accuracy"] == float((logits.argmax(1) == labels).double().mean())
    assert found["loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5
    )
    assert found["zeros"] == compress.sparsity(lab.model).share


def test_an_unknown_way_is_refused(lab):
    with pytest.raises(ValueError, match="by curvature"):
        next(lab.smaller("magic"))
