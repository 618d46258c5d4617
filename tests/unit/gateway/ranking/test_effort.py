"""Less effort asks fewer communities, the nearest; then for less; and says so."""

import pytest

from models.contract.types import Membership
from service.gateway.ranking.effort import fewer, nearest, savings
from service.gateway.types import Effort

MEMBERS = [Membership(number, 1 - number / 10) for number in range(9)]


@pytest.mark.parametrize(("width", "asked"), [(1.0, 9), (0.875, 8), (0.5, 5), (0.1, 1), (0.0, 1)])
def test_the_nearest_are_asked_and_at_least_one(width: float, asked: int):
    assert nearest(MEMBERS, Effort(width=width)) == MEMBERS[:asked]


def test_who_belongs_nowhere_is_asked_nowhere():
    assert nearest([], Effort(width=0.0)) == []


@pytest.mark.parametrize(("share", "candidates"), [(1.0, 100), (0.25, 25), (0.001, 1)])
def test_fewer_candidates_but_some(share: float, candidates: int):
    assert fewer(100, Effort(candidates=share)) == candidates


def test_what_was_saved_is_said_and_only_communities_left_out_degrade():
    assert savings((9, 9), (100, 100)) == ()
    narrowed, shortened = savings((3, 9), (25, 100))
    assert (str(narrowed), narrowed.degrades) == ("narrowed:3/9", True)
    assert (str(shortened), shortened.degrades) == ("fewer_candidates:25/100", False)
