"""What the use-case serves is what the contract's own functions make of the same lists, by every way of fusing."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from support.bundles import make_bundle, users_of

from localrec.bench.stub_worker import stub_scores
from models.contract.fusion import FusionMethod
from models.contract.index import top_n
from models.contract.redis_schema import encode_events, encode_profile
from models.contract.selection import FusionSettings, Voter, fuse_voters
from models.contract.types import HistoryEvent, Ints, Profile, RankedList
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.recommend import Recommender
from service.gateway.settings import Settings
from service.gateway.types import FULL_EFFORT, Answer, Effort, Known, Query, StoredUser, Trace
from service.workers.completion import Completion
from service.workers.types import Outcome, OutcomeKind

VOTERS: list[dict[str, float]] = [{}, {"cf": 0.5}, {"global": 2.0}, {"global": 0.25, "cf": 4.0}]
CANDIDATES = 30


class StubWorkers:
    """Ranks by a hash; adapters that are ``down`` refuse."""

    def __init__(self, snapshot: Snapshot, down: tuple[str, ...] = ()) -> None:
        self._snapshot = snapshot
        self._down = down
        self.asked: list[str] = []

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], completion: Completion, deadline: float
    ) -> list[Outcome]:
        return [self._answer(adapter, completion) for adapter in adapters]

    def _answer(self, adapter: str, completion: Completion) -> Outcome:
        self.asked.append(adapter)
        if adapter in self._down:
            return Outcome(OutcomeKind.REFUSED)
        assert completion.candidates == CANDIDATES
        return Outcome(
            OutcomeKind.OK, ranked_by(self._snapshot, adapter, tuple(completion.prompt), completion.excluded)
        )


def ranked_by(snapshot: Snapshot, adapter: str, prompt: tuple[int, ...], excluded: Ints) -> RankedList:
    n_items = len(snapshot.catalogue)
    return top_n(stub_scores(snapshot.bundle.adapter_name(adapter), prompt, n_items)[:n_items], CANDIDATES, excluded)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles")).directory)


@pytest.fixture
def history(snapshot: Snapshot) -> Ints:
    return users_of(snapshot.bundle).histories[1]


@pytest.fixture
def profile(snapshot: Snapshot, history: Ints) -> Profile:
    """A user of several communities, whose models were judged."""
    folded = snapshot.fold_in(history)
    assert len(folded.memberships) > 1
    judged = [m._replace(llm_weight=(1 + m.community) / 16) for m in folded.memberships]
    return Profile(folded.embedding, tuple(judged))


def answer(
    snapshot: Snapshot,
    workers: StubWorkers,
    known: Known,
    fusion: dict[str, Any],
    n: int = 10,
    effort: Effort = FULL_EFFORT,
) -> Answer:
    settings = Settings.model_validate(
        {
            "default_pipeline": "local",
            "pools": [{"name": "w", "urls": ["http://a"]}],
            "pipelines": {"local": {"kind": "local", "pool": "w", "fusion": fusion | {"candidates": CANDIDATES}}},
        }
    )

    async def ask() -> Answer:
        recommender = Recommender({"w": workers})
        deadline = asyncio.get_running_loop().time() + 60
        pipeline = settings.pipelines["local"]
        query = Query("u", n=n, explain=True)
        return await recommender.recommend(query, known, pipeline, snapshot, deadline, Trace(), effort)

    return asyncio.run(ask())


def state_of(snapshot: Snapshot, profile: Profile, history: Ints) -> Known:
    events = [HistoryEvent(snapshot.catalogue.ids[item], 0) for item in history]
    return Known(StoredUser(encode_profile(profile), encode_events(events)))


def expected(snapshot: Snapshot, profile: Profile, history: Ints, settings: FusionSettings) -> RankedList:
    prompt = (len(snapshot.catalogue), *history.tolist())
    asked = [(m, snapshot.adapter(m)) for m in profile.memberships]
    voters = [Voter(m, ranked_by(snapshot, adapter, prompt, history), adapter) for m, adapter in asked]
    voters.append(Voter(None, ranked_by(snapshot, "global", prompt, history), "global"))
    voters.append(Voter(None, snapshot.cf.recommend(profile.embedding, CANDIDATES, history), "cf"))
    return fuse_voters(voters, history, settings)


@pytest.mark.parametrize("voters", VOTERS, ids=str)
@pytest.mark.parametrize("method", list(FusionMethod))
def test_the_served_list_is_the_contracts(
    snapshot: Snapshot, profile: Profile, history: Ints, method: FusionMethod, voters: dict[str, float]
):
    workers = StubWorkers(snapshot)
    served = answer(
        snapshot, workers, state_of(snapshot, profile, history), {"method": method, "k": 10, "voters": voters}
    )

    wanted = expected(snapshot, profile, history, FusionSettings(method, 10, CANDIDATES, tuple(voters.items())))
    assert served.selection.items.tolist() == wanted.items[:10].tolist()
    assert served.selection.scores.tolist() == pytest.approx(wanted.scores[:10].tolist(), rel=1e-5)
    assert ("global" in workers.asked) == ("global" in voters)
    assert served.calls_asked == served.calls_answered == len(workers.asked)
    assert not served.degraded


@pytest.mark.parametrize("method", list(FusionMethod))
def test_contributions_add_up_to_the_score(snapshot: Snapshot, profile: Profile, history: Ints, method: FusionMethod):
    fusion = {"method": method, "k": 10, "voters": {"global": 0.5, "cf": 2.0}}
    served = answer(snapshot, StubWorkers(snapshot), state_of(snapshot, profile, history), fusion)
    for item, score in zip(served.selection.items.tolist(), served.selection.scores.tolist(), strict=True):
        votes = served.votes[item]
        assert sum(vote.contribution for vote in votes) == pytest.approx(score, rel=1e-4)
        assert [vote.contribution for vote in votes] == sorted((v.contribution for v in votes), reverse=True)
    named = {vote.voter.name for votes in served.votes.values() for vote in votes if vote.voter.membership is None}
    assert named == {"global", "cf"}


def test_who_belongs_to_no_community_asks_the_global_adapter(snapshot: Snapshot, profile: Profile, history: Ints):
    alone = Profile(profile.embedding, ())
    workers = StubWorkers(snapshot)
    served = answer(snapshot, workers, state_of(snapshot, alone, history), {"voters": {"global": 1.0}})
    best = ranked_by(snapshot, "global", (len(snapshot.catalogue), *history.tolist()), history)
    assert workers.asked == ["global"]
    assert served.selection.items.tolist() == best.items[:10].tolist()
    assert set(served.selection.sources) == {"local"}


def test_where_no_adapter_answers_the_cf_model_serves_and_does_not_vote(
    snapshot: Snapshot, profile: Profile, history: Ints
):
    down = ("global", *(snapshot.adapter(m) for m in profile.memberships))
    fusion = {"voters": {"global": 1.0, "cf": 1.0}}
    served = answer(snapshot, StubWorkers(snapshot, down), state_of(snapshot, profile, history), fusion)
    assert served.selection.items.tolist() == snapshot.cf.recommend(profile.embedding, 10, history).items.tolist()
    assert set(served.selection.sources) == {"cf"}
    assert (served.calls_asked, served.calls_answered) == (len(down), 0)
    assert "worker_refused:global" in [str(reason) for reason in served.reasons]
    assert served.degraded


def test_the_other_communities_fusion_is_served_when_one_is_down(snapshot: Snapshot, profile: Profile, history: Ints):
    first, *others = profile.memberships
    workers = StubWorkers(snapshot, (snapshot.adapter(first),))
    fusion = {"method": "rrf", "k": 10, "voters": {"cf": 0.5}}
    served = answer(snapshot, workers, state_of(snapshot, profile, history), fusion)
    rest = Profile(profile.embedding, tuple(others))
    settings = FusionSettings(FusionMethod.RRF, 10, CANDIDATES, (("cf", 0.5),))
    assert served.selection.items.tolist() == expected(snapshot, rest, history, settings).items[:10].tolist()
    assert served.degraded


def test_less_effort_asks_the_nearest_community_alone_and_says_so(snapshot: Snapshot, profile: Profile, history: Ints):
    workers = StubWorkers(snapshot)
    known = state_of(snapshot, profile, history)
    served = answer(snapshot, workers, known, {"method": "rrf", "k": 10}, effort=Effort(width=0.0))
    nearest = Profile(profile.embedding, profile.memberships[:1])
    settings = FusionSettings(FusionMethod.RRF, 10, CANDIDATES, ())
    assert served.selection.items.tolist() == expected(snapshot, nearest, history, settings).items[:10].tolist()
    assert workers.asked == [snapshot.adapter(profile.memberships[0])]
    assert [str(reason) for reason in served.reasons] == [f"narrowed:1/{len(profile.memberships)}"]
    assert served.degraded


def test_without_models_no_worker_is_asked_and_the_cf_model_serves(snapshot: Snapshot, profile: Profile, history: Ints):
    workers = StubWorkers(snapshot)
    served = answer(snapshot, workers, state_of(snapshot, profile, history), {}, effort=Effort(models=False))
    assert workers.asked == []
    assert served.selection.items.tolist() == snapshot.cf.recommend(profile.embedding, 10, history).items.tolist()
    assert [str(reason) for reason in served.reasons] == ["models_skipped"]
    assert (served.degraded, served.calls_asked) == (True, 0)


def test_who_has_no_models_anyway_misses_none(snapshot: Snapshot):
    served = answer(snapshot, StubWorkers(snapshot), Known(StoredUser()), {}, effort=Effort(models=False))
    assert [str(reason) for reason in served.reasons] == ["unknown_user"]
    assert not served.degraded
