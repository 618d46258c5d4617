"""Which calls are planned, and with what."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.bundles import make_bundle, users_of

from models.contract.bundle import write_manifest
from models.contract.fusion import FusionMethod
from models.contract.types import Membership, Profile, item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.plan import plan
from service.gateway.ranking.settings import GlobalPipeline, LocalPipeline
from service.gateway.ranking.user import User, understand
from service.gateway.types import Effort, Query, UserState

LOCAL = LocalPipeline(kind="local", pool="w")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path_factory.mktemp("bundles")).directory)


def user(*communities: int) -> User:
    members = tuple(Membership(number, 1 / (1 + at)) for at, number in enumerate(communities))
    return User(Profile(np.zeros(16, np.float32), members), item_numbers([5, 6]), item_numbers([5, 6, 9]), ())


def test_one_call_per_community_nearest_first_and_capped(snapshot: Snapshot):
    planned = plan(LOCAL, user(2, 0, 3), snapshot)
    assert [call.adapter for call in planned.calls] == ["c02", "c00", "c03"]
    capped = plan(LocalPipeline(kind="local", pool="w", max_communities=2), user(2, 0, 3), snapshot)
    assert [call.adapter for call in capped.calls] == ["c02", "c00"]
    assert (planned.pool, planned.bundle_id) == ("w", snapshot.id)


def test_less_effort_narrows_what_the_pipeline_allows_and_asks_for_less(snapshot: Snapshot):
    planned = plan(
        LocalPipeline(kind="local", pool="w", max_communities=2), user(2, 0, 3), snapshot, Effort(0.5, candidates=0.5)
    )
    full = snapshot.bundle.manifest.serving.candidates
    assert [call.adapter for call in planned.calls] == ["c02"]
    assert planned.inquiry.candidates == planned.fusion.candidates == full // 2
    assert [str(reason) for reason in planned.reasons] == ["narrowed:1/2", f"fewer_candidates:{full // 2}/{full}"]
    assert plan(LOCAL, user(2, 0, 3), snapshot).reasons == ()


def test_prompt_is_the_start_token_and_the_history(snapshot: Snapshot):
    completion = plan(LOCAL, user(1), snapshot).inquiry
    assert completion.prompt == [200, 5, 6]
    assert completion.candidates == snapshot.bundle.manifest.serving.candidates
    assert completion.excluded.tolist() == [5, 6, 9]


def test_no_call_where_nobody_is_asked(snapshot: Snapshot):
    nobody = User(None, item_numbers([]), item_numbers([]), ())
    assert plan(LOCAL, nobody, snapshot) is None
    assert plan(LOCAL, user(), snapshot) is None
    assert plan(GlobalPipeline(kind="cf"), user(1), snapshot) is None


def test_pipeline_overrides_the_fusion_key_by_key(snapshot: Snapshot):
    serving = snapshot.bundle.manifest.serving
    changed = LocalPipeline.model_validate({"kind": "local", "pool": "w", "fusion": {"method": "wrrf_cf", "k": 0}})
    fusion = plan(changed, user(1), snapshot).fusion
    assert (fusion.method, fusion.k, fusion.candidates) == (FusionMethod.WRRF_CF, 0, serving.candidates)
    assert plan(LOCAL, user(1), snapshot).fusion.method is serving.method


def test_the_global_adapter_is_asked_where_it_has_a_vote(snapshot: Snapshot):
    def asked(*communities: int, **voters: float) -> list[str]:
        pipeline = {"kind": "local", "pool": "w", "max_communities": 2, "fusion": {"voters": voters}}
        planned = plan(LocalPipeline.model_validate(pipeline), user(*communities), snapshot)
        return [call.adapter for call in planned.calls] if planned else []

    assert asked(2, 0, 3, **{"global": 0.5}) == ["c02", "c00", "global"]
    assert asked(2, **{"global": 0, "cf": 1}) == ["c02"]
    assert asked(**{"global": 0.5}) == ["global"]
    assert asked(cf=1) == []


def test_the_bundle_says_who_votes_unless_the_pipeline_does(tmp_path: Path):
    bundle = make_bundle(tmp_path)
    serving = msgspec.structs.replace(bundle.manifest.serving, voters={"global": 2.0})
    snapshot = load_snapshot(
        write_manifest(bundle.directory, msgspec.structs.replace(bundle.manifest, serving=serving)).directory
    )
    assert plan(LOCAL, user(1), snapshot).fusion.others == (("global", 2.0),)
    silent = LocalPipeline.model_validate({"kind": "local", "pool": "w", "fusion": {"voters": {}}})
    assert plan(silent, user(1), snapshot).fusion.others == ()


def test_no_more_candidates_than_the_catalogue_has(tmp_path: Path):
    small = load_snapshot(make_bundle(tmp_path, n_items=60).directory)
    assert small.bundle.manifest.serving.candidates > 60
    wide = LocalPipeline.model_validate({"kind": "local", "pool": "w", "fusion": {"candidates": 1000}})
    for pipeline in (LOCAL, wide):
        planned = plan(pipeline, user(1), small)
        assert (planned.inquiry.candidates, planned.fusion.candidates) == (60, 60)


def test_profile_of_other_dimensions_is_not_used(snapshot: Snapshot):
    for profile in (
        Profile(np.zeros(3, np.float32), ()),
        Profile(np.zeros(16, np.float32), (Membership(99, 1.0),)),
    ):
        understood = understand(Query("u"), UserState(profile=profile), snapshot)
        assert understood.profile is None
        assert [str(reason) for reason in understood.reasons] == ["unreadable_state:profile", "unknown_user"]


def test_folded_in_user_gets_the_communities_of_the_same_embedding(snapshot: Snapshot, tmp_path: Path):
    bundle = make_bundle(tmp_path)
    history = users_of(bundle).histories[0]
    ids = tuple(f"i{item}" for item in history)
    profile = understand(Query("u", history=ids), UserState(), snapshot).profile
    assert profile.memberships[0].community == 0  # the first user is the first anchor
    assert profile.memberships[0].cf_weight == pytest.approx(1.0, abs=1e-3)


def test_seen_items_of_other_bundles_are_passed_over(snapshot: Snapshot):
    known = snapshot.catalogue.hashes()[[3, 7]]
    found = snapshot.items_of(np.array([1, known[1], 2**64 - 1, known[0]], dtype=np.uint64))
    assert found.tolist() == [7, 3]
    assert snapshot.items_of(np.empty(0, np.uint64)).tolist() == []
