"""Each rule of what may be shown, alone and together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.bundles import make_bundle

from models.contract.types import item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.constraints import NOTHING_LEFT_OUT, Constraints, LeftOut, constrain
from service.gateway.types import NO_HASHES, AttributeFilter, Query

N_ITEMS = 200


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles"), n_items=N_ITEMS).directory)


def constraints(
    snapshot: Snapshot, query: Query, seen: Sequence[int] = (), history: Sequence[int] = (), hidden: Sequence[str] = ()
) -> Constraints:
    hashes = snapshot.catalogue.hashes()[list(seen)] if seen else NO_HASHES
    return constrain(query, snapshot.items_of(hashes), item_numbers(history), snapshot, frozenset(hidden))


def shown(snapshot: Snapshot, found: Constraints) -> set[int]:
    """Numbers of the items that may be shown."""
    mask = np.ones(N_ITEMS, bool) if found.allowed is None else found.allowed.mask.copy()
    mask[found.excluded] = False
    return set(np.flatnonzero(mask).tolist())


def test_without_rules_nothing_is_allowed_alone(snapshot: Snapshot):
    found = constraints(snapshot, Query("u"), seen=[3, 4], history=[4, 5])
    assert found.allowed is None
    assert sorted(set(found.excluded.tolist())) == [3, 4, 5]
    assert found.reasons == ()
    assert found.left_out is NOTHING_LEFT_OUT


def test_seen_items_stay_where_the_request_says_so(snapshot: Snapshot):
    query = Query("u", exclude_seen=False, exclude_items=("i7", "nope"))
    found = constraints(snapshot, query, seen=[3], history=[5])
    assert shown(snapshot, found) == set(range(N_ITEMS)) - {7}


def test_candidates_alone_but_seen_and_excluded_ones(snapshot: Snapshot):
    query = Query("u", candidates=("i1", "i2", "i3", "i3", "i4"), exclude_items=("i2",))
    assert shown(snapshot, constraints(snapshot, query, seen=[3])) == {1, 4}


def test_unknown_candidates_are_named_and_none_known_is_an_empty_list(snapshot: Snapshot):
    found = constraints(snapshot, Query("u", candidates=("x", "i1")))
    assert [str(reason) for reason in found.reasons] == ["unknown_candidate:x"]
    assert not any(reason.degrades for reason in found.reasons)
    nothing = constraints(snapshot, Query("u", candidates=tuple(f"x{number}" for number in range(7))))
    assert shown(snapshot, nothing) == set()
    assert str(nothing.reasons[-1]) == "unknown_candidate:and 2 more"


def test_hidden_items_are_shown_to_nobody(snapshot: Snapshot):
    found = constraints(snapshot, Query("u"), hidden=["i0", "i199", "of another bundle"])
    assert shown(snapshot, found) == set(range(1, N_ITEMS - 1))
    again = constraints(snapshot, Query("v"), hidden=["i199", "i0", "of another bundle"])
    assert again.allowed is found.allowed  # computed once, not once a request


def test_all_rules_together(snapshot: Snapshot):
    query = Query(
        "u",
        candidates=tuple(f"i{number}" for number in range(60)),
        filters={"brand": AttributeFilter(any_of=("brand 2",)), "year": AttributeFilter(minimum=1995)},
        exclude_items=("i37",),
        explain=True,
    )
    found = constraints(snapshot, query, seen=[9, 16], history=[16], hidden=["i23"])
    items = snapshot.catalogue.items
    passing = {n for n in range(N_ITEMS) if items[n].brand == "brand 2" and int(items[n].attributes["year"]) >= 1995}
    assert shown(snapshot, found) == {n for n in passing if n < 60} - {37, 9, 16, 23}
    assert found.left_out == LeftOut(
        seen=2, excluded=1, hidden=1, filtered=N_ITEMS - len(passing), not_candidates=N_ITEMS - 60
    )


def test_rules_that_do_not_apply_leave_nothing_out(snapshot: Snapshot):
    assert constraints(snapshot, Query("u", explain=True)).left_out == NOTHING_LEFT_OUT


def test_sets_that_requests_share_do_not_change(snapshot: Snapshot, tmp_path: Path):
    query = Query("u", filters={"brand": AttributeFilter(any_of=("brand 2",))}, candidates=("i2",))
    before = constraints(snapshot, Query("u", filters=query.filters)).allowed
    assert before is not None
    size = int(before.mask.sum())
    constraints(snapshot, query, hidden=["i2"])
    assert int(before.mask.sum()) == size
