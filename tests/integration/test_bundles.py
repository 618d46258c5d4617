"""The pointer moves while requests are served: what is switched to, what is refused, and what waits for whom."""

import time
from dataclasses import replace

import pytest
from redis import Redis
from support.bundles import activate, make_bundle, user_values, users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import wait_until
from support.stub_worker import StubProcess, stub_process

from models.contract.bundle import Bundle
from models.contract.redis_schema import CURRENT_BUNDLE
from service.gateway import gateway as module


def pool_of(*urls: str, name: str = "local") -> dict[str, object]:
    return {"name": name, "urls": urls, "probe_interval_ms": 50}


def served_whole(gateway: RunningGateway, bundle: Bundle) -> bool:
    """Whether a user gets an answer from a bundle with nothing missing."""
    reply = gateway.post({"user_id": "u0"})
    return reply.status == 200 and reply.json["model_version"] == bundle.id and not reply.json["degraded"]


def answers_of_a_switch(gateway: RunningGateway, redis: Redis, bundle: Bundle) -> list[dict[str, object]]:
    """What is answered from the moment that the pointer moves until the bundle is in service."""
    activate(redis, bundle.id)
    bodies = [gateway.recommend("u0")]
    wait_until(lambda: bodies.append(gateway.recommend("u0")) or bodies[-1]["model_version"] == bundle.id)
    return bodies


def test_altered_bundle_is_refused_and_the_old_one_stays(
    gateway: RunningGateway, published: Bundle, redis_url: str, caplog: pytest.LogCaptureFixture
):
    other = make_bundle(published.directory.parent, n_items=150, seed=1)
    path = other.path("popularity.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with Redis.from_url(redis_url) as redis:
        activate(redis, other.id)
    wait_until(lambda: gateway.metric('localrec_bundle_events_total{outcome="refused"}') == 1)
    body = gateway.recommend("u0")
    assert body["model_version"] == published.id
    assert not body["degraded"]
    assert "popularity.npy does not match its checksum" in caplog.text
    assert "popularity.npy" in gateway.get("/readyz").json["warnings"][0]


@pytest.mark.parametrize("pointer", ["../../etc", "", "no-such-bundle", "a\nb"])
def test_pointer_to_nowhere_is_refused(gateway: RunningGateway, published: Bundle, redis_url: str, pointer: str):
    with Redis.from_url(redis_url) as redis:
        redis.set(CURRENT_BUNDLE, pointer)
    wait_until(lambda: gateway.metric('localrec_bundle_events_total{outcome="refused"}') == 1)
    assert gateway.recommend("u0")["model_version"] == published.id


def test_switch_of_bundles_fails_no_request(published: Bundle, stub: StubProcess, configure, redis_url: str):
    other = make_bundle(published.directory.parent, n_items=120, seed=2)
    users = users_of(other)
    with stub_process(other.base_id, 120) as new, Redis.from_url(redis_url) as redis:
        pool = {"name": "local", "urls": [stub.url, new.url], "probe_interval_ms": 50}
        with running_gateway(configure(stub.url, pools=[pool])) as gateway:
            wait_until(lambda: not gateway.post({"user_id": "u0"}).json.get("degraded", True))
            for row, user_id in enumerate(users.ids):
                redis.mset(user_values(other, user_id, users.histories[row], users.embeddings[row]))
            bodies = [gateway.recommend("u0")]
            activate(redis, other.id)
            wait_until(lambda: bodies.append(gateway.recommend("u0")) or bodies[-1]["model_version"] == other.id)
            bodies.append(gateway.recommend("u1"))
            assert gateway.metric("localrec_bundle_info") == 1
    assert {body["model_version"] for body in bodies} == {published.id, other.id}
    assert not any(body["degraded"] for body in bodies)
    assert all(int(item["item_id"][1:]) < 120 for item in bodies[-1]["items"])


def test_new_bundle_waits_for_a_worker_but_not_for_ever(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    other = make_bundle(published.directory.parent, n_items=130, seed=3)
    with running_gateway(configure(stub.url, bundle_wait_s=0.6)) as gateway, Redis.from_url(redis_url) as redis:
        gateway.wait_ready()
        activate(redis, other.id)
        wait_until(lambda: gateway.metric('localrec_bundle_events_total{outcome="loaded"}') == 2)
        assert gateway.recommend("u0")["model_version"] == published.id
        assert not gateway.recommend("u0")["degraded"]
        wait_until(lambda: gateway.recommend("u0")["model_version"] == other.id)


def test_bundle_that_was_rolled_back_does_not_cost_the_one_in_service_its_workers(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    root = published.directory.parent
    workerless, third = make_bundle(root, n_items=140, seed=4), make_bundle(root, n_items=160, seed=5)
    with stub_process(third.base_id, 160) as new:
        settings = configure(stub.url, pools=[pool_of(stub.url, new.url)])
        with running_gateway(settings) as gateway, Redis.from_url(redis_url) as redis:
            wait_until(lambda: served_whole(gateway, published))
            activate(redis, workerless.id)
            wait_until(lambda: gateway.metric('localrec_bundle_events_total{outcome="loaded"}') == 2)
            activate(redis, published.id)
            time.sleep(0.2)  # the pointer was looked at
            bodies = answers_of_a_switch(gateway, redis, third) + answers_of_a_switch(gateway, redis, published)
            assert not any(body["degraded"] for body in bodies)
            time.sleep(0.3)  # some probes
            assert served_whole(gateway, published)


def test_worker_that_prepares_slowly_holds_up_nothing_else(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    root = published.directory.parent
    slow_bundle, other = make_bundle(root, n_items=140, seed=4), make_bundle(root, n_items=160, seed=5)
    with stub_process(slow_bundle.base_id, 140) as slow, stub_process(other.base_id, 160) as new:
        slow.order(load_seconds=30)
        settings = configure(stub.url, pools=[pool_of(stub.url, slow.url, new.url)], redis_grace_s=0.3)
        with running_gateway(settings) as gateway, Redis.from_url(redis_url) as redis:
            wait_until(lambda: served_whole(gateway, published))
            activate(redis, slow_bundle.id)
            wait_until(lambda: slow.counts()["loads"] >= 1)
            time.sleep(1.0)  # idle: nothing but the look at the pointer speaks to Redis
            assert gateway.get("/readyz").json["reasons"] == []
            activate(redis, other.id)
            wait_until(lambda: gateway.recommend("u0")["model_version"] == other.id, 1.0)


def test_switch_waits_for_one_replica_not_for_all(published: Bundle, stub: StubProcess, configure, redis_url: str):
    other = make_bundle(published.directory.parent, n_items=140, seed=4)
    with stub_process(other.base_id, 140) as slow, stub_process(other.base_id, 140) as quick:
        slow.order(load_seconds=30)
        pool = pool_of(stub.url, slow.url, quick.url)
        with running_gateway(configure(stub.url, pools=[pool])) as gateway, Redis.from_url(redis_url) as redis:
            wait_until(lambda: served_whole(gateway, published))
            activate(redis, other.id)
            wait_until(lambda: served_whole(gateway, other), 2.0)


def test_wait_for_a_worker_ends_also_while_one_is_being_prepared(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    other = make_bundle(published.directory.parent, n_items=140, seed=4)
    with stub_process(other.base_id, 140) as slow:
        slow.order(load_seconds=30)
        settings = configure(stub.url, pools=[pool_of(stub.url, slow.url)], bundle_wait_s=0.5)
        with running_gateway(settings) as gateway, Redis.from_url(redis_url) as redis:
            wait_until(lambda: served_whole(gateway, published))
            activate(redis, other.id)
            wait_until(lambda: gateway.recommend("u0")["model_version"] == other.id, 2.0)


def test_worker_that_serves_another_bundle_than_is_in_service_is_a_warning(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    other = make_bundle(published.directory.parent, n_items=140, seed=4)
    with stub_process(other.base_id, 140) as new:
        pools = [pool_of(stub.url, new.url), pool_of(stub.url, name="behind")]
        with running_gateway(configure(stub.url, pools=pools)) as gateway, Redis.from_url(redis_url) as redis:
            wait_until(lambda: served_whole(gateway, published))
            activate(redis, other.id)
            expected = f"worker: local {new.url}: serves {other.id}, in service is {published.id}"
            wait_until(lambda: gateway.get("/readyz").json["warnings"] == [expected])


def test_adapters_without_a_slot_are_a_warning(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, pools=[pool_of(stub.url) | {"slots": 3}])) as gateway:
        expected = f"pool: local: no slot for 2 of 5 adapters of {published.id}: raise slots"
        wait_until(lambda: gateway.get("/readyz").json["warnings"] == [expected])


def test_bundles_of_one_base_change_on_the_same_worker_and_back_without_a_failed_request(
    published: Bundle, stub: StubProcess, configure, redis_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Loaded and proven beside the old adapters, switched, and these unloaded; the same way back."""
    other = make_bundle(published.directory.parent, seed=9)
    assert other.base_id == published.base_id
    users = users_of(other)
    options = module._options  # the shortest drain that can be set is longer than the test should be
    monkeypatch.setattr(module, "_options", lambda *args: replace(options(*args), drain_seconds=0.3))
    with running_gateway(configure(stub.url, pools=[pool_of(stub.url)])) as gateway, Redis.from_url(redis_url) as redis:
        gateway.wait_ready()
        for row, user_id in enumerate(users.ids):
            redis.mset(user_values(other, user_id, users.histories[row], users.embeddings[row]))
        bodies = []
        for target in (other, published):
            bodies += answers_of_a_switch(gateway, redis, target)
            names = sorted(target.adapter_name(name) for name in target.manifest.model.adapters)
            wait_until(lambda names=names: stub.counts()["adapters"] == names)
            bodies += [gateway.recommend(user_id) for user_id in users.ids[:10]]
        assert gateway.metric("localrec_adapter_unloads_total") == 10
        assert gateway.metric("localrec_adapter_misses_total") == 0
        assert gateway.get("/readyz").json["warnings"] == []
    assert not any(body["degraded"] for body in bodies)
    assert {body["model_version"] for body in bodies} == {published.id, other.id}
