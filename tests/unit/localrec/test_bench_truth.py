from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from localrec.bench.mixed import Request
from localrec.bench.random_model import Shape, two_versions
from localrec.bench.synthetic import make_bundle, user_values, users_of
from localrec.bench.truth import Excuses, Expected, Truth, agrees
from models.contract.bundle import CF_MODEL, COMMUNITIES, Bundle
from models.contract.cf import CFModel
from models.contract.fusion import FusionMethod
from models.contract.profile import build_profile
from models.contract.redis_schema import decode_profile, profile_key
from models.contract.selection import FusionSettings, Voter, fuse_voters
from models.contract.types import Membership, RankedList, item_numbers

N_ITEMS, N_VOTERS, CANDIDATES, N = 2_000, 9, 100, 10
FUSION = FusionSettings(FusionMethod.RRF, 10.0, CANDIDATES)
NOTHING = item_numbers([])


def voters(rng: np.random.Generator) -> list[Voter]:
    scores = -np.arange(CANDIDATES, dtype=np.float32)
    lists = [item_numbers(rng.choice(N_ITEMS, CANDIDATES, replace=False)) for _ in range(N_VOTERS)]
    return [Voter(Membership(n, 1.0), RankedList(items, scores), f"c{n:02d}") for n, items in enumerate(lists)]


def ranks(voter: Voter) -> dict[str, int]:
    return {f"i{item}": rank for rank, item in enumerate(voter.ranking.items.tolist(), start=1)}


def served(voted: list[Voter]) -> list[str]:
    return [f"i{item}" for item in fuse_voters(voted, NOTHING, FUSION).items[:N].tolist()]


def answer(voted: list[Voter]) -> dict[str, Any]:
    """As the gateway explains it."""
    ranked = {n: ranks(voter) for n, voter in enumerate(voted)}
    items = [
        {"item_id": i, "explanation": [{"community": n, "rank": r[i]} for n, r in ranked.items() if i in r]}
        for i in served(voted)
    ]
    return {"items": items}


def expected(voted: list[Voter]) -> Expected:
    return Expected(served(voted), {voter.name: ranks(voter) for voter in voted})


def test_the_expected_answer_agrees():
    voted = voters(np.random.default_rng(0))
    assert agrees(answer(voted), expected(voted))


def test_an_item_twice_or_a_short_list_does_not():
    voted = voters(np.random.default_rng(0))
    given = answer(voted)
    assert not agrees({"items": [*given["items"][:-1], given["items"][0]]}, expected(voted))
    assert not agrees({"items": given["items"][:-1]}, expected(voted))


def test_near_equal_scores_may_change_places():
    voted = voters(np.random.default_rng(0))
    items = voted[3].ranking.items.copy()
    items[[4, 5]] = items[[5, 4]]
    exchanged = [*voted]
    exchanged[3] = Voter(voted[3].membership, RankedList(items, voted[3].ranking.scores), "c03")
    assert agrees(answer(exchanged), expected(voted))


def test_one_adapter_that_answers_for_another_shows():
    """Whichever of nine it is, for whatever user: its list brings items of its own, or lacks what it should bring."""
    rng = np.random.default_rng(1)
    found = 0
    for trial in range(100):
        voted = voters(rng)
        at = trial % N_VOTERS
        swapped = [*voted]
        swapped[at] = Voter(voted[at].membership, voters(rng)[0].ranking, voted[at].name)
        found += not agrees(answer(swapped), expected(voted))
    assert found >= 95


def test_a_community_that_did_not_answer_shows():
    voted = voters(np.random.default_rng(2))
    assert not agrees(answer(voted[:-1]), expected(voted))


class TestExcuses:
    def test_what_the_reasons_say(self):
        reasons = [
            "worker_timeout:c03",
            "worker_refused:global",
            "narrowed:4/9",
            "fewer_candidates:50/100",
            "unknown_user",
        ]
        assert Excuses.of(reasons) == Excuses(frozenset({"c03", "global"}), 4, 50)
        assert Excuses.of(["models_skipped", "redis_unavailable:timeout"]) == Excuses(communities=0)
        assert Excuses.of([]) == Excuses()

    def test_the_nearest_communities_are_heard_and_those_who_are_none(self):
        voted = [*voters(np.random.default_rng(0)), Voter(None, RankedList(NOTHING, np.empty(0, np.float32)), "global")]
        heard = Excuses(frozenset({"c01"}), communities=3).heard(voted)
        assert [voter.name for voter in heard] == ["c00", "c02", "global"]
        assert Excuses(communities=0).heard(voted) == ()


SMALL = Shape(n_items=300, layers=1, hidden_size=128, heads=2, key_value_heads=1, inner_size=96, embedding_size=16)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    return two_versions(tmp_path_factory.mktemp("b"), SMALL, name="truth", communities=3, n_users=8, seed=0)


@pytest.fixture(scope="module")
def truth(bundles: tuple[Bundle, Bundle]) -> Truth:
    return Truth(bundles, users_of(bundles[0]))


class TestTruth:
    """Of two real bundles. Answers are made out of what one of them expects."""

    @staticmethod
    def member_of_two(truth: Truth, bundle: Bundle) -> int:
        return next(row for row in range(8) if len(truth.expected(bundle.id, row, Excuses()).ranks) > 1)

    @staticmethod
    def body(truth: Truth, bundle: Bundle, user: int, excuses: Excuses, *reasons: str) -> dict[str, Any]:
        """What a gateway says that serves the user from the bundle."""
        expected = truth.expected(bundle.id, user, excuses)
        items = [
            {
                "item_id": i,
                "explanation": [{"community": int(n[1:]), "rank": r[i]} for n, r in expected.ranks.items() if i in r],
            }
            for i in expected.items
        ]
        return {"items": items, "model_version": bundle.id, "degraded": bool(reasons), "reasons": list(reasons)}

    def test_a_whole_answer_is_right_and_one_of_the_other_bundle_wrong(
        self, truth: Truth, bundles: tuple[Bundle, Bundle]
    ):
        user = self.member_of_two(truth, bundles[0])
        request = Request({"user_id": f"u{user}"}, user)
        whole = self.body(truth, bundles[0], user, Excuses())
        assert truth.judge(whole, request) == "right"
        assert truth.judge(whole | {"model_version": bundles[1].id}, request) == "wrong"
        assert truth.judge(whole | {"model_version": "unheard-of"}, request) == "wrong"

    def test_a_voter_may_be_missing_only_where_a_reason_names_it(self, truth: Truth, bundles: tuple[Bundle, Bundle]):
        user = self.member_of_two(truth, bundles[0])
        request = Request({"user_id": f"u{user}"}, user)
        missing = next(iter(truth.expected(bundles[0].id, user, Excuses()).ranks))
        excuses = Excuses(frozenset({missing}))
        named = self.body(truth, bundles[0], user, excuses, f"worker_timeout:{missing}")
        assert truth.judge(named, request) == "degraded"
        assert truth.judge(named | {"reasons": [], "degraded": False}, request) == "wrong"

    def test_without_redis_popular_items_will_do_unless_the_request_brings_a_history(
        self, truth: Truth, bundles: tuple[Bundle, Bundle]
    ):
        popular = [{"item_id": f"i{item}", "explanation": []} for item in range(10)]
        answer = {
            "items": popular,
            "model_version": bundles[0].id,
            "degraded": True,
            "reasons": ["redis_unavailable:timeout"],
        }
        assert truth.judge(answer, Request({"user_id": "u0"}, 0)) == "degraded"
        assert truth.judge(answer, Request({"user_id": "x", "history": ["i1"]}, 0)) == "wrong"
        assert truth.judge(answer | {"reasons": ["unknown_user"]}, Request({"user_id": "u0"}, 0)) == "wrong"


def test_stored_users_have_the_communities_of_the_offline_ranking_in_its_order(tmp_path: Path):
    """Affinities that are equal in float16 are common: a fan-out that is cut between two of them must cut alike."""
    bundle = make_bundle(tmp_path, n_items=200, n_users=200)
    users = users_of(bundle)
    cf, anchors = CFModel.load(bundle.path(CF_MODEL)), load_file(bundle.path(COMMUNITIES))["anchors"]
    manifest = bundle.manifest
    for row, user_id in enumerate(users.ids):
        values = user_values(bundle, user_id, users.histories[row], users.embeddings[row])
        stored = decode_profile(values[profile_key(user_id, bundle.id)])
        built = build_profile(cf, anchors, manifest.bandwidth, manifest.kernel, users.histories[row])
        assert stored.memberships == built.memberships
