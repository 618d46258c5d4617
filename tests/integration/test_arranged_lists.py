"""Arranged and explained lists over HTTP; what was shown, in a real Redis."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from redis import Redis
from support.bundles import make_bundle, publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import wait_until

from models.contract.bundle import CATALOGUE, Bundle, hash_files, write_manifest
from models.contract.catalogue import Catalogue, Item
from models.contract.redis_schema import SHOWN_KEPT, decode_shown, encode_shown, item_hash, shown_key
from service.gateway.api.schemas import RecommendResponse
from service.gateway.explanation import Explanation

N_ITEMS = 200
PIPELINES: dict[str, Any] = {
    "cf": {"kind": "cf"},
    "turning": {"kind": "cf", "rotation": {"discount": 1.0, "window_s": 60}},
    "mixed": {"kind": "cf", "diversity": 0.8, "max_per": {"brand": 2, "colour": 1}},
}


@pytest.fixture(scope="module")
def branded(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose items have brands and categories."""
    made = make_bundle(tmp_path_factory.mktemp("branded"), n_items=N_ITEMS, name="branded")
    items = [
        Item(f"i{n}", title=f"Item {n}", brand=f"b{n % 7}", categories=(f"c{n % 3}", "all")) for n in range(N_ITEMS)
    ]
    Catalogue(items).save(made.directory / CATALOGUE)
    return write_manifest(made.directory, msgspec.structs.replace(made.manifest, files=hash_files(made.directory)))


@pytest.fixture
def serve(branded: Bundle, redis_url: str, configure) -> Iterator[Any]:
    """A gateway without workers whose default is one of :data:`PIPELINES`."""
    publish(redis_url, branded, users_of(branded))

    def start(pipeline: str) -> Any:
        keys = {"bundle_root": branded.directory.parent, "default_pipeline": pipeline, "pipelines": PIPELINES}
        return running_gateway(configure("http://127.0.0.1:9", **keys))

    return start


def ready(gateway: RunningGateway) -> RunningGateway:
    wait_until(lambda: gateway.get("/readyz").status == 200)
    return gateway


def ids(body: Any) -> list[str]:
    return [item["item_id"] for item in body["items"]]


def brands(body: Any) -> list[int]:
    return [int(item_id[1:]) % 7 for item_id in ids(body)]


def wait_for_shown(redis_url: str, user_id: str, count: int) -> list[tuple[int, int]]:
    with Redis.from_url(redis_url) as redis:
        wait_until(lambda: len(redis.get(shown_key(user_id)) or b"") == 12 * count)
        assert 0 < redis.ttl(shown_key(user_id)) <= 60
        shown: list[tuple[int, int]] = decode_shown(redis.get(shown_key(user_id))).tolist()
        return shown


def test_a_request_is_arranged_as_it_asks(serve):
    with serve("cf") as gateway:
        ready(gateway)
        plain, zero = gateway.recommend("u1"), gateway.recommend("u1", diversity=0, max_per={})
        diverse = gateway.recommend("u1", diversity=0.9)
        capped = gateway.recommend("u1", max_per={"brand": 2, "categories": 5})
        short = gateway.recommend("u1", max_per={"categories": 3})
    assert zero["items"] == plain["items"]
    assert "arrange" not in zero["timings_ms"]
    assert ids(diverse)[0] == ids(plain)[0]
    assert ids(diverse) != ids(plain)
    assert max(map(brands(capped).count, range(7))) <= 2
    assert len(short["items"]) == 3  # every item is of the category `all`
    assert (short["reasons"], short["degraded"]) == (["capped"], False)


def test_a_pipeline_arranges_what_requests_say_nothing_of(serve):
    with serve("mixed") as gateway:
        ready(gateway)
        by_default, explained = gateway.recommend("u1"), gateway.recommend("u1", explain=True)
        plain = gateway.recommend("u1", diversity=0, max_per={})
    assert max(map(brands(by_default).count, range(7))) <= 2
    assert ids(explained) == ids(by_default) != ids(plain)
    assert max(map(brands(plain).count, range(7))) > 2
    arranged = explained["explanation"]["stages"][-1]
    assert (arranged["diversity"], arranged["max_per"]) == (0.8, {"brand": 2, "colour": 1})


def test_a_cap_on_an_attribute_that_no_item_has_is_refused(serve):
    with serve("cf") as gateway:
        reply = ready(gateway).post({"user_id": "u1", "max_per": {"brand": 1, "colour": 1}})
        before = gateway.metric('localrec_request_seconds_count{outcome="invalid_request"')
    assert reply.status == 422
    error = reply.json["error"]
    assert (error["code"], error["field"]) == ("invalid_request", "max_per.colour")
    assert "brand, categories" in error["message"]
    assert before == 1


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("diversity", {"diversity": 1.1}),
        ("diversity", {"diversity": "0.5"}),
        ("max_per.brand", {"max_per": {"brand": 0}}),
        ("max_per.brand", {"max_per": {"brand": 101}}),
    ],
)
def test_what_cannot_be_is_refused(gateway: RunningGateway, field: str, body: dict[str, Any]):
    error = gateway.post({"user_id": "u1", **body}).json["error"]
    assert (error["code"], error["field"]) == ("invalid_request", field)


def test_what_was_shown_comes_last_until_it_is_acted_upon(serve, redis_url: str):
    with serve("turning") as gateway:
        ready(gateway)
        first = gateway.recommend("u1", n=5, explain=True)
        shown = wait_for_shown(redis_url, "u1", 5)
        second = gateway.recommend("u1", n=5, explain=True)
        wait_for_shown(redis_url, "u1", 10)
        with Redis.from_url(redis_url) as redis:
            redis.append("lr:{u:u1}:s", item_hash(ids(first)[0]).to_bytes(8, "little"))
        acted = gateway.recommend("u1", n=5, exclude_seen=False, exclude_items=ids(second))
    assert [item for item, _ in shown] == [item_hash(item_id) for item_id in ids(first)]
    assert all(abs(moment - time.time()) < 60 for _, moment in shown)
    assert all(item["moved"] is None for item in first["items"])
    assert not set(ids(first)) & set(ids(second))
    assert [item["moved"] for item in second["items"]] == [
        {"from_rank": rank, "by": ["rotation"]} for rank in range(6, 11)
    ]
    assert ids(first)[0] in ids(acted)  # in the seen set now: no longer held back
    assert ids(first)[1] not in ids(acted)


def test_only_pipelines_that_rotate_ask_for_and_note_what_was_shown(serve, redis_url: str):
    with serve("cf") as gateway:
        ready(gateway)
        with Redis.from_url(redis_url) as redis:
            redis.set(shown_key("u1"), b"damaged")
            body = gateway.recommend("u1")
            wait_until(lambda: gateway.metric('localrec_exposures_total{outcome="written"}') == 1)
            assert redis.get(shown_key("u1")) == b"damaged"
    assert body["reasons"] == []


def test_a_pipeline_that_rotates_reads_once_and_notes_in_the_background(serve, redis_url: str):
    with serve("turning") as gateway, Redis.from_url(redis_url) as redis:
        ready(gateway)
        redis.config_resetstat()
        gateway.recommend("u1", n=5)
        wait_for_shown(redis_url, "u1", 5)
        stats = redis.info("commandstats")
    assert [stats[f"cmdstat_{command}"]["calls"] for command in ("mget", "xadd", "eval")] == [1, 1, 1]


def test_a_damaged_note_is_named_ignored_and_mended(serve, redis_url: str):
    with serve("turning") as gateway, Redis.from_url(redis_url) as redis:
        ready(gateway)
        redis.set(shown_key("u1"), b"\x07" * 13)
        damaged = gateway.recommend("u1", n=5)
        wait_for_shown(redis_url, "u1", 5)
        mended = gateway.recommend("u1", n=5)
    assert damaged["reasons"] == ["unreadable_state:shown"]
    assert mended["reasons"] == []
    assert not set(ids(damaged)) & set(ids(mended))


def test_the_note_of_what_was_shown_is_trimmed_from_its_old_end(serve, redis_url: str):
    with serve("turning") as gateway, Redis.from_url(redis_url) as redis:
        ready(gateway)
        redis.set(shown_key("u1"), encode_shown([f"old{n}" for n in range(SHOWN_KEPT - 2)], 1))
        body = gateway.recommend("u1", n=5)
        shown = wait_for_shown(redis_url, "u1", SHOWN_KEPT)
    assert [item for item, _ in shown[-5:]] == [item_hash(item_id) for item_id in ids(body)]
    assert shown[0] == (item_hash("old3"), 1)


def test_an_explained_answer_says_what_happened_in_its_documented_form(gateway: RunningGateway):
    body = gateway.recommend("u0", n=20, diversity=0.6, exclude_items=["i1", "i2"], explain=True)
    parsed = RecommendResponse.model_validate(body)
    assert isinstance(parsed.explanation, Explanation)
    sent = parsed.model_dump(mode="json", include={"explanation"})["explanation"]
    assert sent == body["explanation"]
    assert asdict(parsed.explanation)["left_out"] == parsed.explanation.left_out
    names = [stage["name"] for stage in body["explanation"]["stages"]]
    assert names == ["state", "plan", "fan_out", "fuse", "fill", "arrange"]
    assert all(stage["ms"] == body["timings_ms"][stage["name"]] for stage in body["explanation"]["stages"])
    assert body["explanation"]["left_out"]["seen"] == 20
    for item in body["items"]:
        assert abs(sum(vote["contribution"] for vote in item["explanation"]) - item["score"]) < 1e-5
        from_rank = item["moved"]["from_rank"] if item["moved"] else item["rank"]
        assert item["source_rank"] == from_rank  # all are the adapters', in the order of the fusion
    plain = gateway.recommend("u0")
    assert "explanation" not in plain
    assert not {"explanation", "source_rank", "moved"} & plain["items"][0].keys()
