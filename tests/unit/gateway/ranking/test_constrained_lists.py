"""Lists under constraints: every voter and every fallback obeys, whatever a worker answers."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.bundles import make_bundle, users_of

from localrec.bench.stub_worker import stub_scores
from models.contract.index import top_n
from models.contract.redis_schema import encode_events, encode_profile, encode_seen
from models.contract.selection import FusionSettings, Voter, fuse_voters
from models.contract.types import HistoryEvent, Ints, Profile, item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.recommend import Recommender
from service.gateway.settings import Settings
from service.gateway.types import Answer, AttributeFilter, Known, Query, StoredUser, Trace
from service.workers.completion import Completion
from service.workers.types import Outcome, OutcomeKind

CANDIDATES = 30
NOTHING = item_numbers([])
CHEAP = {"price": AttributeFilter(maximum=60.0)}
RARE = {"brand": AttributeFilter(any_of=("brand 3",)), "year": AttributeFilter(minimum=2015.0)}
NONE = {"brand": AttributeFilter(any_of=("brand 99",))}


class Workers:
    """Rank by a hash what they are told to, or ``disobey`` and rank everything; ``down`` ones refuse."""

    def __init__(self, snapshot: Snapshot, disobey: bool = False, down: bool = False) -> None:
        self._snapshot = snapshot
        self._disobey = disobey
        self._down = down
        self.asked: list[Completion] = []

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], completion: Completion, deadline: float
    ) -> list[Outcome]:
        self.asked.append(completion)
        if self._down:
            return [Outcome(OutcomeKind.REFUSED)] * len(adapters)
        excluded = NOTHING if self._disobey else completion.excluded
        mask = None
        if completion.allowed is not None and not self._disobey:
            mask = np.isin(np.arange(completion.n_items), completion.allowed)
        n = completion.n_items if self._disobey else completion.candidates
        return [
            Outcome(OutcomeKind.OK, top_n(scores_of(self._snapshot, adapter, completion.prompt), n, excluded, mask))
            for adapter in adapters
        ]


def scores_of(snapshot: Snapshot, adapter: str, prompt: list[int]) -> Any:
    n_items = len(snapshot.catalogue)
    return stub_scores(snapshot.bundle.adapter_name(adapter), tuple(prompt), n_items)[:n_items]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles")).directory)


@pytest.fixture(scope="module")
def history(snapshot: Snapshot) -> Ints:
    return users_of(snapshot.bundle).histories[1]


@pytest.fixture(scope="module")
def profile(snapshot: Snapshot, history: Ints) -> Profile:
    folded = snapshot.fold_in(history)
    assert len(folded.memberships) > 1
    return folded


@pytest.fixture(scope="module")
def known(snapshot: Snapshot, profile: Profile, history: Ints) -> Known:
    ids = [snapshot.catalogue.ids[item] for item in history]
    events = [HistoryEvent(item_id, at) for at, item_id in enumerate(ids)]
    return Known(StoredUser(encode_profile(profile), encode_events(events), encode_seen(ids)))


def answer(
    snapshot: Snapshot,
    known: Known,
    query: Query,
    workers: Workers | None = None,
    pipeline: str = "local",
    hidden: Sequence[str] = (),
) -> Answer:
    local = {"kind": "local", "pool": "w", "fusion": {"candidates": CANDIDATES, "voters": {"cf": 1.0}}}
    settings = Settings.model_validate(
        {
            "default_pipeline": "local",
            "pools": [{"name": "w", "urls": ["http://a"]}],
            "pipelines": {
                "local": local,
                "alone": local | {"fallbacks": ["popular"]},
                "cf": {"kind": "cf"},
                "popular": {"kind": "popular"},
            },
        }
    )

    async def ask() -> Answer:
        recommender = Recommender({"w": workers or Workers(snapshot)})
        deadline = asyncio.get_running_loop().time() + 60
        told = replace(known, hidden=frozenset(hidden))
        return await recommender.recommend(query, told, settings.pipelines[pipeline], snapshot, deadline, Trace())

    return asyncio.run(ask())


def passing(snapshot: Snapshot, filters: dict[str, AttributeFilter]) -> np.ndarray:
    found = snapshot.filters.passing(filters)
    assert found is not None
    return found.mask


def expected(snapshot: Snapshot, profile: Profile, history: Ints, mask: np.ndarray, n: int) -> list[int]:
    """The fused list of all voters' full rankings, each restricted to what may be shown."""
    prompt = snapshot.prompts.prompt(history)
    voters = [
        Voter(m, top_n(scores_of(snapshot, snapshot.adapter(m), prompt), CANDIDATES, history, mask), "c")
        for m in profile.memberships
    ]
    voters.append(Voter(None, snapshot.cf.recommend(profile.embedding, CANDIDATES, history, mask), "cf"))
    fused = fuse_voters(voters, history, FusionSettings(k=10.0, candidates=CANDIDATES, others=(("cf", 1.0),)))
    items: list[int] = fused.items[:n].tolist()
    return items


@pytest.mark.parametrize("disobey", [False, True])
@pytest.mark.parametrize("filters", [CHEAP, RARE], ids=["wide", "narrow"])
def test_the_list_is_what_voters_rank_among_what_passes(
    snapshot: Snapshot, known: Known, profile: Profile, history: Ints, filters: Any, disobey: bool
):
    workers, mask = Workers(snapshot, disobey), passing(snapshot, filters)
    n = min(10, int(mask.sum()) - int(mask[history].sum()))
    got = answer(snapshot, known, Query("u", n=n, filters=filters), workers)
    assert got.selection.items.tolist() == expected(snapshot, profile, history, mask, n)
    assert set(got.selection.sources) == {"local"}
    assert got.reasons == ()
    assert workers.asked[0].candidates == min(CANDIDATES, int(mask.sum()) - int(mask[history].sum()))


@pytest.mark.parametrize("pipeline", ["local", "alone", "cf", "popular"])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_every_list_obeys_every_rule(
    snapshot: Snapshot, known: Known, history: Ints, pipeline: str, down: bool, strict: bool
):
    hidden = [f"i{number}" for number in range(0, 200, 3)]
    candidates = tuple(f"i{number}" for number in range(120))
    query = Query("u", n=100, filters=CHEAP, candidates=candidates, strict_filters=strict, exclude_items=("i1",))
    got = answer(snapshot, known, query, Workers(snapshot, disobey=True, down=down), pipeline, hidden)
    mask = passing(snapshot, CHEAP)
    may = {n for n in range(120) if mask[n] and n % 3} - {1} - set(history.tolist())
    assert set(got.selection.items.tolist()) == may
    assert [str(reason) for reason in got.reasons if not reason.degrades] == ["few_items_pass"]


@pytest.mark.parametrize("pipeline", ["local", "cf", "popular"])
def test_hidden_items_alone_leave_every_list(snapshot: Snapshot, known: Known, pipeline: str):
    before = answer(snapshot, known, Query("u"), pipeline=pipeline).selection.items.tolist()
    hidden = [snapshot.catalogue.ids[item] for item in before[:4]]
    after = answer(snapshot, known, Query("u"), pipeline=pipeline, hidden=hidden)
    assert after.selection.items.tolist()[:6] == before[4:] or pipeline == "local"  # there ranks of others change
    assert not set(before[:4]) & set(after.selection.items.tolist())
    assert len(after.selection.items) == 10
    assert after.reasons == ()


def test_a_stranger_gets_popular_items_that_pass(snapshot: Snapshot):
    got = answer(snapshot, Known(StoredUser()), Query("u", n=5, filters=CHEAP))
    assert got.selection.items.tolist() == np.flatnonzero(passing(snapshot, CHEAP))[:5].tolist()
    assert set(got.selection.sources) == {"popular"}


class TestStrict:
    """Pipeline ``alone`` falls back on popular items only, and its voters give 30 candidates each."""

    def query(self, strict: bool) -> Query:
        return Query(
            "u", n=100, filters={"categories": AttributeFilter(none_of=("category 0",))}, strict_filters=strict
        )

    def test_strict_lists_stay_short(self, snapshot: Snapshot, known: Known):
        got = answer(snapshot, known, self.query(strict=True), pipeline="alone")
        assert set(got.selection.sources) == {"local"}
        assert len(got.selection.items) < 100
        assert [str(reason) for reason in got.reasons] == ["few_items_pass"]
        assert not got.degraded

    def test_others_are_filled_up_with_popular_items_that_pass(self, snapshot: Snapshot, known: Known):
        strict = answer(snapshot, known, self.query(strict=True), pipeline="alone").selection.items.tolist()
        got = answer(snapshot, known, self.query(strict=False), pipeline="alone")
        assert got.selection.items.tolist()[: len(strict)] == strict
        assert set(got.selection.sources) == {"local", "popular"}
        assert len(got.selection.items) == 100
        assert got.reasons == ()

    def test_where_no_model_answers_popular_items_serve_all_the_same(self, snapshot: Snapshot, known: Known):
        got = answer(snapshot, known, self.query(strict=True), Workers(snapshot, down=True), "alone")
        assert set(got.selection.sources) == {"popular"}
        assert len(got.selection.items) == 100

    def test_without_filters_nothing_changes(self, snapshot: Snapshot, known: Known):
        got = answer(snapshot, known, Query("u", n=100, strict_filters=True), pipeline="alone")
        assert set(got.selection.sources) == {"local", "popular"}
        assert len(got.selection.items) == 100


@pytest.mark.parametrize(
    "query", [Query("u", filters=NONE), Query("u", candidates=("x",))], ids=["filter", "candidates"]
)
def test_where_nothing_may_be_shown_no_worker_is_asked(snapshot: Snapshot, known: Known, query: Query):
    workers = Workers(snapshot)
    got = answer(snapshot, known, query, workers)
    assert len(got.selection.items) == 0
    assert workers.asked == []
    assert not got.degraded
    assert [str(reason) for reason in got.reasons] == ["few_items_pass" if query.filters else "unknown_candidate:x"]


def test_candidates_are_all_ranked(snapshot: Snapshot, known: Known, history: Ints):
    candidates = tuple(f"i{number}" for number in range(20))
    got = answer(snapshot, known, Query("u", n=100, candidates=candidates, exclude_seen=False))
    assert sorted(got.selection.items.tolist()) == list(range(20))
    assert got.reasons == ()
    left = answer(snapshot, known, Query("u", n=100, candidates=candidates))
    assert set(left.selection.items.tolist()) == set(range(20)) - set(history.tolist())
