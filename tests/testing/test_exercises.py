"""Exercises: answers are right, or the verdict says why not."""

import pytest

from neurolens.errors import InputError
from neurolens.testing import Verdict, check

LADDER = {"It has to be even.": lambda n: n % 2 == 0, "It has to be large.": lambda n: n > 10}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (12, Verdict(True)),
        (4, Verdict(False, "It has to be large.")),
        (13, Verdict(False, "It has to be even.")),
        (..., Verdict(False, "Replace the ... by your answer.")),
    ],
)
def test_the_first_condition_that_does_not_hold_is_told(answer, expected):
    assert check(answer, LADDER) == expected


def test_an_answer_of_another_type_is_wrong_and_shown():
    verdict = check({"a": 1}, LADDER)
    assert not verdict.right
    assert "{'a': 1}" in verdict.why
    assert "TypeError" in verdict.why


def test_a_long_answer_is_shown_in_part():
    assert len(check("x" * 1000, {"A number.": lambda n: n > 1}).why) < 250


def test_a_condition_may_be_an_array_of_one():
    numpy = pytest.importorskip("numpy")
    assert check(numpy.float64(3), {"Three.": lambda n: n == numpy.array([3])}).right


def test_no_conditions_is_an_error():
    with pytest.raises(InputError, match="no conditions"):
        check(1, {})


def test_a_verdict_reads_as_a_sentence():
    assert repr(check(12, LADDER)) == "Right."
    assert repr(check(4, LADDER)) == "Not yet. It has to be large."
