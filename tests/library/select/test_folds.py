"""k-fold cross-validation: every index once, classes spread evenly, as scikit-learn promises."""

import numpy as np
import pandas as pd
import pytest
import torch
from cases import few_cases, seeds
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

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
    with pytest.raises((ValueError, TypeError), match=message):
        stratified_folds(labels, folds)


@few_cases
@given(seed=seeds, folds=st.integers(2, 5), classes=st.integers(1, 3), groups=st.integers(5, 12))
def test_groups_stay_whole_and_every_training_set_has_every_class(seed, folds, classes, groups):
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(groups, (80,), generator=generator)
    owner[: groups * classes] = torch.arange(groups).repeat(classes)  # every group has all classes
    labels = torch.randint(classes, (80,), generator=generator)
    labels[: groups * classes] = torch.arange(classes).repeat_interleave(groups)
    found = stratified_folds(labels, folds, seed, [f"patient {g}" for g in owner.tolist()])
    assert torch.equal(torch.cat([v for _, v in found]).sort().values, torch.arange(80))
    for train, validation in found:
        assert not set(owner[train].tolist()) & set(owner[validation].tolist())
        assert len(validation) and labels[train].unique().numel() == labels.unique().numel()


def test_equal_groups_are_dealt_as_evenly_as_by_scikit_learn():
    labels, groups = torch.arange(96) % 3, torch.arange(96) // 6
    counts = [labels[v].bincount().tolist() for _, v in stratified_folds(labels, 4, 1, groups)]
    theirs = StratifiedGroupKFold(4).split(labels, labels, groups)
    assert counts == [labels[v].bincount().tolist() for _, v in theirs] == [[8, 8, 8]] * 4


@pytest.mark.parametrize(
    "labels, groups, message",
    [
        (6, [0, 0, 1, 1, 2], "one for each of the 6 samples, got 5"),
        (6, [0, 0, 0, 1, 1, 1], "at least 3 groups for 3 folds, got 2"),
        (6, [0.5, 0, 1, 1, 2, 2], "as groups, got others"),
        (["a", "a", "b", "b", "b", "b"], [0, 0, 1, 2, 3, 4], "class a has all of its samples"),
        (6, 3, "one for each of the 6 samples"),
    ],
)
def test_groups_that_cannot_be_dealt_are_refused(labels, groups, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(labels, 3, groups=groups)


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a"] * 6,
        np.array(["b", "a"] * 6),
        pd.Series(["b", "a"] * 12)[12:],  # after a split: its index begins at 12
        pd.Series(["b", "a"] * 6, dtype="category"),
        pd.Series([1, 0] * 12)[12:],
        np.array([1, 0] * 6, dtype=np.uint8),
        torch.tensor([True, False] * 6),
    ],
)
def test_labels_of_every_library_give_the_same_folds(labels):
    expected = stratified_folds([1, 0] * 6, 3)
    for (_, a), (_, b) in zip(stratified_folds(labels, 3), expected, strict=True):
        assert torch.equal(a, b)
