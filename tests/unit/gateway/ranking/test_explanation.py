"""What is said of the stages of a request, and of each item."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.bundles import make_bundle, users_of

from localrec.bench.stub_worker import stub_scores
from models.contract.catalogue import Catalogue, Item
from models.contract.index import top_n
from models.contract.redis_schema import encode_events, encode_profile, encode_seen, encode_shown
from models.contract.types import HistoryEvent, ItemId, Profile
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.explanation import FailedCall, Move, Stage
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import FusionOverrides, GlobalPipeline, LocalPipeline, Pipeline, RotationSettings
from service.gateway.types import Answer, Known, Query, StoredUser, Trace
from service.workers.completion import Completion
from service.workers.types import Outcome, OutcomeKind

NOW = 1_000_000
LOCAL = LocalPipeline(kind="local", pool="w", fusion=FusionOverrides(k=10, candidates=20, voters={"cf": 0.5}))
ROTATING = LocalPipeline(kind="local", pool="w", rotation=RotationSettings(discount=0.05, window_s=60))


class StubWorkers:
    """Ranks by a hash; the adapter ``down`` is late."""

    def __init__(self, snapshot: Snapshot, down: str) -> None:
        self._snapshot = snapshot
        self._down = down

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], completion: Completion, deadline: float
    ) -> list[Outcome]:
        return [self._answer(adapter, completion) for adapter in adapters]

    def _answer(self, adapter: str, completion: Completion) -> Outcome:
        if adapter == self._down:
            return Outcome(OutcomeKind.TIMEOUT)
        scores = stub_scores(adapter, tuple(completion.prompt), completion.n_items)[: completion.n_items]
        return Outcome(OutcomeKind.OK, top_n(scores, completion.candidates, completion.excluded))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    loaded = load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles")).directory)
    items = [Item(f"i{number}", brand=f"b{number % 2}") for number in range(len(loaded.catalogue))]
    return replace(loaded, catalogue=Catalogue(items))


@pytest.fixture
def profile(snapshot: Snapshot) -> Profile:
    """A user of three communities at least."""
    folded = [snapshot.fold_in(history) for history in users_of(snapshot.bundle).histories]
    return next(found for found in folded if len(found.memberships) >= 3)


@pytest.fixture
def stored(profile: Profile) -> StoredUser:
    """A user with a profile, a history of three items, two of which have been seen, and one more seen."""
    history = [HistoryEvent(ItemId(f"i{number}"), 0) for number in (1, 2, 3)]
    return StoredUser(encode_profile(profile), encode_events(history), encode_seen(["i1", "i2", "i9", "gone"]))


def answer(snapshot: Snapshot, query: Query, stored: StoredUser, pipeline: Pipeline, down: str = "") -> Answer:
    async def ask() -> Answer:
        recommender = Recommender({"w": StubWorkers(snapshot, down)}, now=lambda: NOW)
        deadline = asyncio.get_running_loop().time() + 60
        return await recommender.recommend(query, Known(stored), pipeline, snapshot, deadline, Trace())

    return asyncio.run(ask())


def stages(served: Answer) -> dict[str, Stage]:
    return {stage.name: stage for stage in served.explanation.stages}


def test_nothing_is_explained_unasked(snapshot: Snapshot, stored: StoredUser):
    served = answer(snapshot, Query("u", diversity=0.5), stored, LOCAL)
    assert (served.explanation, served.placements, served.votes) == (None, (), {})


def test_stages_come_in_their_order_and_only_those_that_ran(snapshot: Snapshot, stored: StoredUser):
    local = answer(snapshot, Query("u", explain=True, diversity=0.5), stored, LOCAL)
    assert list(stages(local)) == ["state", "plan", "fan_out", "fuse", "fill", "arrange"]
    assert all(stage.ms >= 0 for stage in local.explanation.stages)
    cf = answer(snapshot, Query("u", explain=True), stored, GlobalPipeline(kind="cf"))
    assert list(stages(cf)) == ["state", "plan", "fill"]


@pytest.mark.parametrize(
    ("history", "keeps_profile", "said"),
    [(None, True, ("found", 3)), (None, False, ("folded_in", 3)), (("i7",), True, ("folded_in", 1))],
)
def test_what_is_known_of_the_user(snapshot: Snapshot, stored: StoredUser, history, keeps_profile, said):
    known = stored if keeps_profile else replace(stored, profile=None)
    state = stages(answer(snapshot, Query("u", history=history, explain=True), known, LOCAL))["state"]
    assert (state.user, state.history) == said


def test_of_a_stranger_nothing_is_known_and_nobody_is_asked(snapshot: Snapshot):
    said = stages(answer(snapshot, Query("u", explain=True), StoredUser(), LOCAL))
    assert (said["state"].user, said["plan"].asked, said["plan"].not_asked) == ("unknown", (), ())
    assert said["fill"].items == {"popular": 10}
    assert "fan_out" not in said


def test_communities_beyond_the_most_are_named(snapshot: Snapshot, stored: StoredUser, profile: Profile):
    capped = LOCAL.model_copy(update={"max_communities": 2})
    planned = stages(answer(snapshot, Query("u", explain=True), stored, capped))["plan"]
    nearest, farther = profile.memberships[:2], profile.memberships[2:]
    assert [voter.community for voter in planned.asked] == [member.community for member in nearest]
    assert [(left.community, left.why) for left in planned.not_asked] == [
        (member.community, "max_communities") for member in farther
    ]
    assert planned.asked[0].name == f"community {nearest[0].community}"
    assert planned.asked[0].affinity == pytest.approx(nearest[0].cf_weight, abs=1e-3)


def test_who_answered_who_did_not_and_what_was_fused(snapshot: Snapshot, stored: StoredUser, profile: Profile):
    adapters = [snapshot.adapter(member) for member in profile.memberships]
    said = stages(answer(snapshot, Query("u", explain=True), stored, LOCAL, down=adapters[1]))
    assert said["fan_out"].answered == (adapters[0], *adapters[2:])
    assert said["fan_out"].failed == (FailedCall(adapters[1], "timeout"),)
    fused = said["fuse"]
    assert (fused.method, fused.k, fused.lists) == ("rrf", 10, len(adapters))  # without one adapter, with the CF model
    assert 20 <= fused.items <= 20 * fused.lists


def test_distinct_items_that_are_left_out_are_counted_by_reason(snapshot: Snapshot, stored: StoredUser):
    query = Query("u", exclude_items=("i1", "i30", "i30", "gone"), explain=True)
    assert answer(snapshot, query, stored, LOCAL).explanation.left_out == {"seen": 4, "excluded": 2}
    unfiltered = replace(query, exclude_seen=False)
    assert answer(snapshot, unfiltered, stored, LOCAL).explanation.left_out == {"excluded": 2}
    assert answer(snapshot, Query("u", explain=True), StoredUser(), LOCAL).explanation.left_out == {}


def test_each_item_has_its_rank_in_the_list_of_its_source(snapshot: Snapshot, stored: StoredUser):
    few = LOCAL.model_copy(update={"max_communities": 1, "fusion": FusionOverrides(candidates=3, voters={})})
    served = answer(snapshot, Query("u", n=5, explain=True), stored, few)
    assert served.selection.sources == ("local",) * 3 + ("cf",) * 2
    assert [placement.source_rank for placement in served.placements] == [1, 2, 3, 1, 2]
    assert all(placement.moved is None for placement in served.placements)


def test_caps_shorten_the_list_say_so_and_count_what_they_kept_out(snapshot: Snapshot, stored: StoredUser):
    served = answer(snapshot, Query("u", max_per={"brand": 2}, explain=True), stored, LOCAL)
    brands = [snapshot.catalogue.items[number].brand for number in served.selection.items.tolist()]
    assert sorted(brands) == ["b0", "b0", "b1", "b1"]
    assert "capped" in [str(reason) for reason in served.reasons]
    assert not served.degraded
    assert served.explanation.left_out["capped"] == 6


def test_caps_that_leave_enough_are_no_reason(snapshot: Snapshot, stored: StoredUser):
    served = answer(snapshot, Query("u", n=4, max_per={"brand": 2}), stored, LOCAL)
    assert (len(served.selection.items), served.reasons) == (4, ())


def test_moved_items_say_from_where(snapshot: Snapshot, stored: StoredUser):
    plain = answer(snapshot, Query("u", n=50), stored, LOCAL).selection.items.tolist()
    served = answer(snapshot, Query("u", diversity=0.7, explain=True), stored, LOCAL)
    moved = 0
    for rank, (item, placement) in enumerate(zip(served.selection.items.tolist(), served.placements, strict=True), 1):
        before = plain.index(item) + 1
        moved += before != rank
        assert (placement.moved.from_rank if placement.moved else rank) == before
        assert placement.moved is None or placement.moved.by == ("diversity",)
    assert moved > 0
    arranged = stages(served)["arrange"]
    assert (arranged.pool, arranged.moved, arranged.diversity, arranged.max_per) == (50, moved, 0.7, {})


def test_contributions_add_up_to_the_score_of_items_that_moved(snapshot: Snapshot, stored: StoredUser):
    served = answer(snapshot, Query("u", diversity=0.7, max_per={"brand": 3}, explain=True), stored, LOCAL)
    assert any(placement.moved for placement in served.placements)
    selection = served.selection
    for item, score, source in zip(selection.items.tolist(), selection.scores, selection.sources, strict=True):
        assert source == "local"
        assert sum(vote.contribution for vote in served.votes[item]) == pytest.approx(score, rel=1e-4)


def test_what_was_shown_in_vain_comes_later_and_says_so(snapshot: Snapshot, stored: StoredUser):
    plain = answer(snapshot, Query("u"), stored, ROTATING).selection.items.tolist()
    first = snapshot.catalogue.ids[plain[0]]
    tired = replace(stored, shown=encode_shown([first], NOW - 60) + encode_shown([first, "i1"], NOW))
    served = answer(snapshot, Query("u", explain=True), tired, ROTATING)
    assert served.selection.items.tolist() == [*plain[1:5], plain[0], *plain[5:]]  # (1 - 0.05)^2 is less than 1 - 4/50
    assert [placement.moved for placement in served.placements] == [
        *(Move(rank, ("rotation",)) for rank in (2, 3, 4, 5, 1)),
        *[None] * 5,
    ]
    old = replace(stored, shown=encode_shown([first], NOW - 61))
    assert answer(snapshot, Query("u"), old, ROTATING).selection.items.tolist() == plain


def test_without_an_arrangement_the_list_is_what_it_was(snapshot: Snapshot, stored: StoredUser):
    plain = answer(snapshot, Query("u", n=10), stored, LOCAL).selection
    longer = answer(snapshot, Query("u", n=10, max_per={"brand": 100}), stored, LOCAL).selection
    assert longer.items.tolist() == plain.items.tolist()
    assert longer.sources == plain.sources
    assert np.array_equal(longer.scores, plain.scores)
