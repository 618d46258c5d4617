"""Lists over HTTP when everything works: real Redis, real uvicorn, a worker that speaks the contract."""

import time

import pytest
from redis import Redis
from support.bundles import users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import wait_until

from localrec.bench.stub_worker import stub_scores
from models.contract.bundle import Bundle
from models.contract.fusion import FusionMethod
from models.contract.index import top_n
from models.contract.prompts import item_prompt
from models.contract.records import decode_exposures
from models.contract.redis_schema import EXPOSURES, decode_profile, encode_profile, profile_key
from models.contract.selection import FusionSettings, Voter, fuse_voters, select
from models.contract.types import Profile
from service.gateway.api.schemas import RecommendResponse
from service.gateway.bundles.snapshot import load_snapshot


def expected_items(
    bundle: Bundle, profile: Profile, history, n: int = 10, settings: FusionSettings | None = None
) -> list[str]:
    """What the contract's own functions make of the same lists, without any of the gateway."""
    model, settings = bundle.manifest.model, settings or bundle.manifest.serving.fusion()
    prompt = tuple(item_prompt(history, model.n_items, model.history_length))
    snapshot = load_snapshot(bundle.directory)
    cf = lambda wanted, excluded: snapshot.cf.recommend(profile.embedding, wanted, excluded)  # noqa: E731
    asked = [(member, f"c{member.community:02d}") for member in profile.memberships]
    voters = []
    for member, adapter in [*asked, (None, "global")]:
        scores = stub_scores(bundle.adapter_name(adapter), prompt, model.n_items)
        voters.append(Voter(member, top_n(scores[: model.n_items], settings.candidates, history), adapter))
    voters.append(Voter(None, cf(settings.candidates, history), "cf"))
    selection = select(fuse_voters(voters, history, settings), "local", history, n, [("cf", cf)])
    return [f"i{item}" for item in selection.items]


def test_every_known_user_gets_the_list_that_the_contract_ranks(
    gateway: RunningGateway, published: Bundle, redis_url: str
):
    users = users_of(published)
    with Redis.from_url(redis_url) as redis:
        for user_id, history in zip(users.ids, users.histories, strict=True):
            profile = decode_profile(redis.get(profile_key(user_id, published.id)))
            body = gateway.recommend(user_id)
            assert [item["item_id"] for item in body["items"]] == expected_items(published, profile, history)
            assert not body["degraded"]


@pytest.fixture
def judged(published: Bundle, redis_url: str) -> dict[str, Profile]:
    """Profiles of some users whose models were judged, written over the published ones. The last has no community."""
    profiles = {}
    with Redis.from_url(redis_url) as redis:
        for row in range(4):
            key = profile_key(f"u{row}", published.id)
            profile = decode_profile(redis.get(key))
            members = [m._replace(llm_weight=(1 + (m.community + row) % 3) / 8) for m in profile.memberships]
            profiles[f"u{row}"] = Profile(profile.embedding, tuple(members) if row < 3 else ())
            redis.set(key, encode_profile(profiles[f"u{row}"]))
    return profiles


def test_weights_and_other_voters_decide_the_list(published: Bundle, stub, configure, judged: dict[str, Profile]):
    """From the bytes in Redis to the explanation; what the methods make of the lists is a matter of unit tests."""
    fusion = {"method": "wrrf_llm", "k": 10, "candidates": 30, "voters": {"cf": 0.5, "global": 2.0}}
    settings = FusionSettings(FusionMethod.WRRF_LLM, 10, 30, (("cf", 0.5), ("global", 2.0)))
    histories = users_of(published).histories
    local = {"kind": "local", "pool": "local", "fusion": fusion}
    with running_gateway(configure(stub.url, pipelines={"local": local})) as gateway:
        gateway.wait_ready()
        for row, (user_id, profile) in enumerate(judged.items()):
            body = gateway.recommend(user_id, explain=True)
            served = [item["item_id"] for item in body["items"]]
            assert served == expected_items(published, profile, histories[row], settings=settings)
            assert not body["degraded"]
            votes = [vote for item in body["items"] for vote in item["explanation"]]
            others = {vote["name"] for vote in votes if vote["community"] is None and vote["affinity"] is None}
            assert others == {"cf", "global"}


def test_where_no_adapter_answers_the_cf_model_does_not_vote_but_serve(published: Bundle, stub, configure):
    local = {"kind": "local", "pool": "local", "fusion": {"voters": {"cf": 1.0, "global": 1.0}}}
    with running_gateway(configure(stub.url, pipelines={"local": local})) as gateway:
        gateway.wait_ready()
        stub.order(mode="busy")
        body = gateway.recommend("u0")
    stub.order()
    assert {item["source"] for item in body["items"]} == {"cf"}
    assert body["degraded"]
    assert "worker_refused:global" in body["reasons"]


def test_response_has_the_documented_fields_and_no_others(gateway: RunningGateway, published: Bundle):
    body = gateway.recommend("u0", explain=True)
    parsed = RecommendResponse.model_validate(body)
    assert parsed.user_id == "u0"
    assert parsed.model_version == published.id
    assert parsed.pipeline == "local"
    assert [item.rank for item in parsed.items] == list(range(1, 11))
    assert parsed.items[0].title == f"Item {parsed.items[0].item_id[1:]}"
    assert {"state", "plan", "fan_out", "fuse", "fill", "slowest_call", "total"} <= parsed.timings_ms.keys()
    assert len(parsed.request_id) == 16


def test_explanation_adds_up_to_the_score(gateway: RunningGateway):
    body = gateway.recommend("u0", explain=True)
    for item in body["items"]:
        votes = item["explanation"]
        assert abs(sum(vote["contribution"] for vote in votes) - item["score"]) < 1e-5
        assert all(abs(vote["contribution"] - 1 / (10 + vote["rank"])) < 1e-6 for vote in votes)
        assert all(vote["name"] == f"community {vote['community']}" for vote in votes)
    assert "explanation" not in gateway.recommend("u0")["items"][0]


def test_cf_pipeline_serves_the_global_model_without_workers(published: Bundle, configure):
    users = users_of(published)
    with running_gateway(configure("http://127.0.0.1:9", default_pipeline="cf")) as gateway:
        wait_until(lambda: gateway.get("/readyz").status == 200)
        body = gateway.recommend("u3", n=100)
    cf = load_snapshot(published.directory).cf
    expected = cf.recommend(users.embeddings[3].astype("float16").astype("float32"), 100, users.histories[3])
    assert [item["item_id"] for item in body["items"]] == [f"i{item}" for item in expected.items]
    assert {item["source"] for item in body["items"]} == {"cf"}
    assert not body["degraded"]
    assert "slowest_call" not in body["timings_ms"]


def test_seen_items_are_not_shown_unless_asked_for(gateway: RunningGateway, published: Bundle):
    seen = {f"i{item}" for item in users_of(published).histories[0]}
    hidden = {item["item_id"] for item in gateway.recommend("u0", n=100)["items"]}
    shown = {item["item_id"] for item in gateway.recommend("u0", n=100, exclude_seen=False)["items"]}
    assert not hidden & seen
    assert shown & seen


def test_excluded_items_are_never_shown(gateway: RunningGateway):
    first = [item["item_id"] for item in gateway.recommend("u0")["items"]]
    second = [item["item_id"] for item in gateway.recommend("u0", exclude_items=[*first, "no-such-item"])["items"]]
    assert not set(first) & set(second)
    assert len(second) == 10


def test_unknown_user_gets_popular_items_and_is_told_so(gateway: RunningGateway):
    body = gateway.recommend("stranger")
    assert [item["item_id"] for item in body["items"]] == [f"i{number}" for number in range(10)]
    assert {item["source"] for item in body["items"]} == {"popular"}
    assert body["reasons"] == ["unknown_user"]
    assert not body["degraded"]


def test_history_in_the_request_makes_a_stranger_a_member(gateway: RunningGateway, published: Bundle):
    users = users_of(published)
    history = [f"i{item}" for item in users.histories[1]]
    body = gateway.recommend("stranger", history=history)
    folded = load_snapshot(published.directory).fold_in(users.histories[1])
    assert [item["item_id"] for item in body["items"]] == expected_items(published, folded, users.histories[1])
    assert body["items"][0]["source"] == "local"


def test_history_in_the_request_replaces_the_stored_one_but_not_the_seen_set(
    gateway: RunningGateway, published: Bundle
):
    users = users_of(published)
    replaced = [f"i{item}" for item in users.histories[1]]
    stored = {f"i{item}" for item in users.histories[0]}
    body = gateway.recommend("u0", history=replaced, n=100)
    shown = {item["item_id"] for item in body["items"]}
    assert not shown & (stored | set(replaced))
    assert body["items"] != gateway.recommend("u0", n=100)["items"]


def test_stored_history_without_a_profile_is_folded_in(gateway: RunningGateway, published: Bundle, redis_url: str):
    before = gateway.recommend("u2")
    with Redis.from_url(redis_url) as redis:
        redis.delete(profile_key("u2", published.id))
    after = gateway.recommend("u2")
    assert [item["item_id"] for item in after["items"]] == [item["item_id"] for item in before["items"]]
    assert after["reasons"] == []


def test_unknown_items_in_history_are_ignored_and_named(gateway: RunningGateway):
    known = gateway.recommend("stranger", history=["i1", "i2"])
    mixed = gateway.recommend("stranger", history=["i1", "nope", "i2"])
    assert mixed["reasons"] == ["unknown_item:nope"]
    assert mixed["items"] == known["items"]
    many = gateway.recommend("stranger", history=[f"x{number}" for number in range(50)])
    assert len(many["reasons"]) == 7
    assert many["reasons"][-2:] == ["unknown_item:and 45 more", "unknown_user"]


def test_damaged_profile_is_folded_in_and_said(gateway: RunningGateway, published: Bundle, redis_url: str):
    with Redis.from_url(redis_url) as redis:
        redis.set(profile_key("u4", published.id), b"\x07nonsense")
    body = gateway.recommend("u4")
    assert body["reasons"] == ["unreadable_state:profile"]
    assert body["degraded"]
    assert body["items"][0]["source"] == "local"


def test_list_is_filled_from_the_fallbacks(published: Bundle, stub, configure):
    narrow = {"local": {"kind": "local", "pool": "local", "max_communities": 1, "fusion": {"candidates": 3}}}
    with running_gateway(configure(stub.url, pipelines=narrow)) as gateway:
        gateway.wait_ready()
        sources = [item["source"] for item in gateway.recommend("u0", n=10)["items"]]
    assert sources == ["local"] * 3 + ["cf"] * 7


def test_exposures_are_written_after_the_response(gateway: RunningGateway, redis_url: str, published: Bundle):
    body = gateway.recommend("u0", n=3)
    with Redis.from_url(redis_url) as redis:
        wait_until(lambda: redis.xlen(EXPOSURES) == 1)
        exposure = decode_exposures(redis.xrange(EXPOSURES)[0][1])[0]
    assert exposure.request_id == body["request_id"]
    assert exposure.items == tuple(item["item_id"] for item in body["items"])
    assert (exposure.user_id, exposure.bundle_id, exposure.pipeline) == ("u0", published.id, "local")


def test_one_mget_is_all_that_a_request_asks_of_redis(gateway: RunningGateway, redis_url: str):
    with Redis.from_url(redis_url) as redis:
        gateway.recommend("u0")
        before = redis.info("commandstats")
        gateway.recommend("u1")
        time.sleep(0.05)
        after = redis.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    connecting = {"cmdstat_client", "cmdstat_hello", "cmdstat_select"}  # by whatever runs in the background, too
    background = {"cmdstat_get", "cmdstat_info", "cmdstat_xadd"} | connecting
    assert {name: count for name, count in calls.items() if count and name not in background} == {"cmdstat_mget": 1}
