"""k-fold cross-validation: every index once, classes spread evenly, as scikit-learn promises."""

import numpy as np
import pytest
import torch
from cases import few_cases, seeds
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from rlhf_lib.select import stratified_folds


@few_cases
@given(seed=seeds, folds=st.integers(2, 7), classes=st.integers(1, 5), extra=st.integers(0, 30))
def test_every_index_is_validated_once_and_classes_are_spread(seed, folds, classes, extra):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat(
        [torch.arange(classes).repeat(folds), torch.randint(classes, (extra,), generator=generator)]
    )
    labels = labels[torch.randperm(len(labels), generator=generator)]
    found = stratified_folds(labels, folds, seed)
    assert len(found) == folds
    assert torch.equal(torch.cat([v for _, v in found]).sort().values, torch.arange(len(labels)))
    for train, validation in found:
        assert torch.equal(torch.cat([train, validation]).sort().values, torch.arange(len(labels)))
    counts = torch.stack([labels[v].bincount(minlength=classes) for _, v in found])
    assert int((counts.max(0).values - counts.min(0).values).max()) <= 1
    sizes = counts.sum(1)
    assert int(sizes.max() - sizes.min()) <= 1


def test_the_class_counts_are_those_of_scikit_learn():
    labels = np.array([0] * 13 + [1] * 9 + [2] * 7)
    theirs = StratifiedKFold(4, shuffle=True, random_state=0).split(labels, labels)
    theirs = np.array([np.bincount(labels[v]) for _, v in theirs])
    ours = np.array([np.bincount(labels[v]) for _, v in stratified_folds(labels, 4)])
    for mine, other in zip(ours.T, theirs.T, strict=True):
        assert sorted(mine) == sorted(other)


def test_a_seed_fixes_the_folds_and_another_one_draws_others():
    labels = torch.arange(60) % 3
    first, again, other = (stratified_folds(labels, 5, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


def test_it_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    stratified_folds(20, 4)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "labels, folds, message",
    [
        ([0] * 9 + [1] * 3, 4, "class 1 has 3 samples, fewer than the 4 folds"),
        ([0, 1, 0, 1], 1, "from 2 folds to 4"),
        (10, 11, "from 2 folds to 10"),
        (10, 2.0, "2.0"),
        (1, 2, "at least 2 samples"),
        ([0.5, 1.0, 2.0], 2, "give the number of samples, 3"),
        (torch.zeros(4, 2), 2, "shape"),
    ],
)
def test_what_cannot_be_folded_is_refused(labels, folds, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(labels, folds)
