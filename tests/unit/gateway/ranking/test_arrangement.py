"""Which arrangement is wanted, and what is known of the pool's items for it."""

from dataclasses import replace

import numpy as np
import pytest
from support.bundles import make_bundle

from models.contract.catalogue import Catalogue, Item
from models.contract.redis_schema import SHOWN, item_hash
from models.contract.selection import Selection
from models.contract.types import item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.errors import ApiError
from service.gateway.ranking.arrange import Arrangement, Traits
from service.gateway.ranking.arrangement import arrangement, pick, pool_size
from service.gateway.ranking.course import Course, Heard
from service.gateway.ranking.settings import GlobalPipeline, RotationSettings
from service.gateway.ranking.user import User
from service.gateway.types import Query, UserState

PLAIN = GlobalPipeline(kind="cf")
ARRANGING = GlobalPipeline(kind="cf", diversity=0.3, max_per={"brand": 2}, rotation=RotationSettings(discount=0.1))
POOL = Selection(item_numbers([7, 3, 9, 4]), np.float32([4, 3, 2, 1]), ("local", "local", "cf", "popular"))
NOW = 1_000_000.0


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    loaded = load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles")).directory)
    items = [
        Item(f"i{n}", brand=f"b{n % 3}", categories=("all", f"c{n % 2}", "all")) for n in range(len(loaded.catalogue))
    ]
    return replace(loaded, catalogue=Catalogue(items))


def course(state: UserState | None = None, *history: int) -> Course:
    user = User(None, item_numbers(history), item_numbers([]), ())
    return Course(state or UserState(), user, None, Heard(), POOL)


def traits(snapshot: Snapshot, wanted: Arrangement) -> Traits:
    return pick(course(), wanted, 4, snapshot, NOW).traits


def shown(*showings: tuple[str, float]) -> UserState:
    return UserState(shown=np.array([(item_hash(item_id), time) for item_id, time in showings], SHOWN))


def times_shown(snapshot: Snapshot, state: UserState, *history: int) -> list[int]:
    wanted = Arrangement(discount=0.5, window_seconds=100)
    return pick(course(state, *history), wanted, 4, snapshot, NOW).traits.shown.tolist()


@pytest.mark.parametrize(("n", "size"), [(1, 50), (10, 50), (11, 55), (100, 500)])
def test_the_pool_is_five_lists_long_within_bounds(n: int, size: int):
    assert pool_size(n) == size


def test_nothing_is_wanted_where_nobody_asks(snapshot: Snapshot):
    assert arrangement(Query("u"), PLAIN, snapshot) is None
    assert arrangement(Query("u", diversity=0.0, max_per={}), PLAIN, snapshot) is None


def test_the_request_comes_before_the_pipeline(snapshot: Snapshot):
    assert arrangement(Query("u"), ARRANGING, snapshot) == Arrangement(0.3, {"brand": 2}, 0.1, 86_400)
    asked = Query("u", diversity=0.0, max_per={"categories": 1})
    assert arrangement(asked, ARRANGING, snapshot) == Arrangement(0.0, {"categories": 1}, 0.1, 86_400)
    assert arrangement(Query("u", diversity=0.5), PLAIN, snapshot) == Arrangement(0.5, {})


def test_a_cap_on_what_no_item_has_is_refused_with_what_there_is(snapshot: Snapshot):
    with pytest.raises(ApiError, match="expected one of brand, categories") as refusal:
        arrangement(Query("u", max_per={"brand": 1, "colour": 1}), PLAIN, snapshot)
    assert (refusal.value.status, refusal.value.field) == (422, "max_per.colour")


def test_a_pipelines_cap_on_what_no_item_has_does_nothing(snapshot: Snapshot):
    pipeline = GlobalPipeline(kind="cf", max_per={"colour": 1})
    wanted = arrangement(Query("u"), pipeline, snapshot)
    assert wanted == Arrangement(max_per={"colour": 1})
    assert traits(snapshot, wanted).kinds == [()] * 4


def test_vectors_are_the_cf_models_in_unit_length(snapshot: Snapshot):
    known = traits(snapshot, Arrangement(diversity=0.1))
    rows = snapshot.cf.item_factors[POOL.items]
    assert known.vectors == pytest.approx(rows / np.linalg.norm(rows, axis=1, keepdims=True), rel=1e-5)
    assert known.vectors.dtype == np.float32


def test_an_item_without_a_vector_is_like_no_other(snapshot: Snapshot):
    factors = snapshot.cf.item_factors.copy()
    factors[3] = 0
    bare = replace(snapshot, cf=replace(snapshot.cf, item_factors=factors))
    known = traits(bare, Arrangement(diversity=0.1))
    assert known.vectors[1].tolist() == [0.0] * factors.shape[1]


def test_capped_values_are_those_of_the_capped_attributes(snapshot: Snapshot):
    known = traits(snapshot, Arrangement(max_per={"categories": 1}))
    assert known.kinds[0] == (("categories", "all"), ("categories", "c1"))  # named twice, counted once


def test_showings_within_the_window_count(snapshot: Snapshot):
    state = shown(("i3", NOW - 101), ("i3", NOW - 100), ("i9", NOW - 1), ("i3", NOW), ("i3", NOW + 5), ("gone", NOW))
    assert times_shown(snapshot, state) == [0, 3, 1, 0]
    assert times_shown(snapshot, UserState()) == [0, 0, 0, 0]


def test_what_was_acted_upon_was_not_shown_in_vain(snapshot: Snapshot):
    state = shown(("i3", NOW), ("i7", NOW), ("i9", NOW))
    seen = np.array([item_hash("i7")], np.uint64)
    assert times_shown(snapshot, state, 3) == [1, 0, 1, 0]
    assert times_shown(snapshot, replace(state, seen=seen), 3) == [0, 0, 1, 0]


def test_items_that_are_picked_keep_score_and_source(snapshot: Snapshot):
    state = shown(("i3", NOW), ("i7", NOW))
    taken = pick(course(state), Arrangement(discount=1.0), 3, snapshot, NOW)
    selection = replace(course(state), arranged=taken).selection
    assert (selection.items.tolist(), selection.scores.tolist()) == ([9, 4, 7], [2, 1, 4])
    assert selection.sources == ("cf", "popular", "local")


def test_a_list_is_capped_where_caps_left_what_there_was_to_pick_from(snapshot: Snapshot):
    def capped(wanted: Arrangement, n: int) -> bool:
        return replace(course(), arranged=pick(course(), wanted, n, snapshot, NOW)).capped(n)

    assert capped(Arrangement(max_per={"categories": 3}), 10)
    assert not capped(Arrangement(max_per={"categories": 3}), 3)
    assert not capped(Arrangement(max_per={"categories": 4}), 10)  # the pool has no more
    assert not course().capped(10)
