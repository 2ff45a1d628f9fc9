"""Claims tested again: one finite benefit a seed, reproducible, of the sign that it should have."""

import math

import pytest

from rlhf_course.claims import CLAIMS
from rlhf_course.experiments.nb17_retest import ADAM, DEFAULT, EVERY_MODEL, RETESTS, SKETCH, TUNED


def test_they_are_claims_of_the_ledger():
    assert set(RETESTS) <= {claim.name for claim in CLAIMS}


@pytest.mark.parametrize("name", [EVERY_MODEL, SKETCH])
def test_a_seed_gives_the_same_number_again(name):
    benefit, about, unit = RETESTS[name]
    first, again, other = benefit(50, TUNED), benefit(50, TUNED), benefit(51, TUNED)
    assert math.isfinite(first) and first == again != other
    assert about and unit


def test_an_untuned_adam_is_worse_than_a_tuned_one():
    benefit = RETESTS[ADAM][0]
    assert benefit(60, DEFAULT) > benefit(60, TUNED) + 0.1
