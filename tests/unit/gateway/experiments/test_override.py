"""The header by which a request asks for variants."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.experiment_files import experiment, experiments_of, layer

from service.gateway.experiments.override import OverrideError

EXPERIMENTS = experiments_of(
    layer("l", experiment("e", coverage=0.5), experiment("f", coverage=0.5, offset=0.5)),
    layer("m", experiment("g")),
    header_override=True,
)


@pytest.mark.parametrize("header", ["e=b,g=a", " e = b , g = a ", "g=a,e=b"])
def test_each_named_experiment_gets_its_variant(header: str):
    assignment = EXPERIMENTS.assign("u", 0.0, header)
    assert assignment.experiments == {"e": "b", "g": "a"}
    assert assignment.forced


def test_experiments_that_are_not_named_are_drawn():
    assert set(EXPERIMENTS.assign("u", 0.0, "e=b").experiments) == {"e", "g"}


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("e", "expected experiment=variant"),
        ("e=", "expected experiment=variant"),
        ("=b", "expected experiment=variant"),
        ("e=b,", "expected experiment=variant"),
        (" ", "expected experiment=variant"),
        ("x=b", "unknown experiment 'x'; expected one of e, f, g"),
        ("e=c", "unknown variant 'c' of e; expected one of a, b"),
        ("e=b=c", "unknown variant 'b=c'"),
        ("e=a,f=b", "f and e exclude each other: both in l"),
        ("e=a,e=a", "e and e exclude each other"),
        ("e=b," * 1_000, "at most 2000 characters"),
        ("\xff=\xfe", "unknown experiment"),
    ],
)
def test_what_is_wrong_is_named(header: str, named: str):
    with pytest.raises(OverrideError, match=re.escape(named)):
        EXPERIMENTS.assign("u", 0.0, header)


@given(st.text(st.sampled_from("efgab=, \u00ff"), max_size=30))
def test_any_text_is_an_assignment_or_an_error_of_the_header(header: str):
    try:
        assignment = EXPERIMENTS.assign("u", 0.0, header)
    except OverrideError:
        return
    assert assignment.forced == bool(header)
