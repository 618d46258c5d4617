"""DESIGN section 7: what the caller gets when things go wrong."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from support.bundles import publish, users_of
from support.gateway import RunningGateway, at_work, running_gateway
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess, stub_process

from localrec.redis_server import redis_server
from models.contract.bundle import Bundle


def sources(body) -> set[str]:
    return {item["source"] for item in body["items"]}


def communities(gateway: RunningGateway, user_id: str) -> list[int]:
    """Who votes for a user, when all do."""
    items = gateway.recommend(user_id, explain=True, n=100)["items"]
    return sorted({vote["community"] for item in items for vote in item["explanation"]})


@pytest.fixture
def crowd(gateway: RunningGateway) -> str:
    """A user in at least two communities."""
    return next(f"u{row}" for row in range(50) if len(communities(gateway, f"u{row}")) >= 2)


@pytest.mark.parametrize(
    ("mode", "reason"), [("busy", "worker_refused"), ("garbage", "worker_invalid"), ("broken", "worker_invalid")]
)
def test_worker_that_fails_leaves_cf_and_a_reason(
    gateway: RunningGateway, stub: StubProcess, crowd: str, mode: str, reason: str
):
    expected = [f"{reason}:c{number:02d}" for number in communities(gateway, crowd)]
    asked = stub.counts()["completions"]
    stub.order(mode=mode)
    body = gateway.recommend(crowd)
    assert sources(body) == {"cf"}
    assert body["degraded"]
    assert sorted(body["reasons"]) == expected
    assert stub.counts()["completions"] - asked == len(expected)  # taken at its word, never asked twice
    stub.order()
    wait_until(lambda: not gateway.recommend(crowd)["degraded"])


def test_slow_community_is_left_out_and_the_others_are_fused(gateway: RunningGateway, stub: StubProcess, crowd: str):
    slow, *others = communities(gateway, crowd)
    stub.order(delays={f"c{slow:02d}": 3.0})
    started = time.perf_counter()
    body = gateway.recommend(crowd, deadline_ms=300, explain=True)
    assert time.perf_counter() - started < 0.6
    assert body["reasons"] == [f"worker_timeout:c{slow:02d}"]
    assert body["degraded"]
    assert {vote["community"] for item in body["items"] for vote in item["explanation"]} == set(others)
    assert gateway.metric(f'localrec_worker_call_seconds_count{{adapter="c{slow:02d}",outcome="timeout"') == 1


def test_deadline_of_a_millisecond_still_gives_a_list(gateway: RunningGateway, crowd: str):
    for _ in range(30):
        body = gateway.recommend(crowd, deadline_ms=1)
        assert len(body["items"]) == 10
    assert not gateway.recommend(crowd)["degraded"]  # impatient callers do not open the breaker for others


def test_missing_adapters_are_loaded_once_and_asked_again(gateway: RunningGateway, stub: StubProcess, crowd: str):
    members = communities(gateway, crowd)
    before = stub.counts()["loads"]
    stub.order(load_seconds=0.2, forget_adapters=True)
    bodies = []
    threads = [threading.Thread(target=lambda: bodies.append(gateway.recommend(crowd))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [body["degraded"] for body in bodies] == [False] * 8
    # The probe loads the others meanwhile; no adapter is loaded twice.
    assert len(members) <= stub.counts()["loads"] - before <= 5


@pytest.mark.parametrize("lie", [{"ignored": ["-c01"]}, {"impostors": {"-c01": "-c02"}}])
def test_adapter_that_is_another_is_left_out_named_and_counted(
    published: Bundle, stub: StubProcess, configure, lie: dict
):
    stub.order(forget_adapters=True, **lie)
    with running_gateway(configure(stub.url)) as gateway:
        name = published.adapter_name("c01")
        wait_until(lambda: [name in line for line in gateway.get("/readyz").json["warnings"]] == [True])
        bodies = [gateway.recommend(f"u{row}", explain=True) for row in range(50)]
        assert gateway.metric('localrec_adapter_probes_total{outcome="failed"') == 1
    reasons = {reason for body in bodies for reason in body["reasons"]}
    assert reasons == {"worker_untrusted:c01"}
    votes = [vote for body in bodies for item in body["items"] for vote in item.get("explanation") or []]
    assert {vote["community"] for vote in votes} == {0, 2, 3}


def test_engine_killed_and_restarted_under_load(published: Bundle, configure):
    with stub_process(published.base_id, 200) as stub, running_gateway(configure(stub.url)) as gateway:
        gateway.wait_ready()
        statuses, stop = [], threading.Event()

        def load() -> None:
            row = 0
            while not stop.is_set():
                statuses.append(gateway.post({"user_id": f"u{row % 50}"}).status)
                row += 1

        thread = threading.Thread(target=load)
        thread.start()
        stub.kill()
        wait_until(lambda: gateway.recommend("u0")["degraded"])
        time.sleep(0.3)
        body = gateway.recommend("u0")
        assert body["degraded"]
        assert body["reasons"][0].startswith("worker_unreachable:c")
        assert sources(body) == {"cf"}
        ready = gateway.get("/readyz")
        assert ready.status == 200
        assert stub.url in ready.json["warnings"][0]
        stub.start()
        wait_until(lambda: not gateway.recommend("u0")["degraded"])
        stop.set()
        thread.join()
        assert set(statuses) == {200}
        assert "local" in sources(gateway.recommend("u0"))


def test_worker_of_another_bundle_is_not_used(published: Bundle, configure):
    with stub_process("another-bundle", 200) as stub, running_gateway(configure(stub.url)) as gateway:
        wait_until(lambda: "serves another-bundle" in str(gateway.get("/readyz").json["warnings"]))
        assert published.id in str(gateway.get("/readyz").json["warnings"])
        assert sources(gateway.recommend("u0")) == {"cf"}
        assert stub.counts()["completions"] == 0


def test_redis_down_gives_popular_items_and_recovers(bundle: Bundle, stub: StubProcess, configure, short_tmp: Path):
    settings = configure(stub.url, redis_url=f"unix://{short_tmp / 'redis.sock'}", redis_grace_s=0.2)
    with running_gateway(settings) as gateway:
        reply = gateway.post({"user_id": "u0"})
        assert (reply.status, reply.json["error"]["code"]) == (503, "no_bundle")
        with redis_server(short_tmp) as url:
            publish(url, bundle, users_of(bundle))
            gateway.wait_ready()
            assert "local" in sources(gateway.recommend("u0"))
        body = gateway.recommend("u0")
        assert sources(body) == {"popular"}
        assert body["degraded"]
        assert body["reasons"][0].startswith("redis_unavailable:")
        assert "local" in sources(gateway.recommend("u0", history=["i1", "i2"]))  # what was sent still counts
        wait_until(lambda: gateway.get("/readyz").status == 503)
        assert "redis: no contact" in gateway.get("/readyz").json["reasons"][0]
        with redis_server(short_tmp) as url:
            publish(url, bundle, users_of(bundle))
            wait_until(lambda: gateway.get("/readyz").status == 200)
            assert not gateway.recommend("u0")["degraded"]


def test_redis_that_hangs_costs_its_timeout_and_no_more(
    published: Bundle, stub: StubProcess, configure, redis_url: str
):
    with running_gateway(configure(stub.url, redis_timeout_ms=100)) as gateway, Redis.from_url(redis_url) as redis:
        gateway.wait_ready()
        before = gateway.recommend("u7")["items"]
        redis.client_pause(700, all=True)
        started = time.perf_counter()
        body = gateway.recommend("u1")
        assert time.perf_counter() - started < 0.4
        assert body["reasons"] == ["redis_unavailable:timeout", "unknown_user"]
        wait_until(lambda: not gateway.recommend("u7")["degraded"])
        # No answer of an abandoned command goes to another user.
        assert gateway.recommend("u7")["items"] == before


def test_overload_is_shed_early(published: Bundle, stub: StubProcess, configure):
    with running_gateway(configure(stub.url, limits={"min": 1, "max": 1})) as gateway:
        gateway.wait_ready()
        stub.order(delay_seconds=0.5)
        with at_work(gateway):
            reply = gateway.post({"user_id": "u1"})
    assert (reply.status, reply.json["error"]["code"]) == (503, "overloaded")
    assert reply.headers["retry-after"] == "1"


def test_full_replica_refuses_at_once(published: Bundle, stub: StubProcess, configure):
    pool = {"name": "local", "urls": [stub.url], "in_flight_limit": 1, "probe_interval_ms": 50}
    with running_gateway(configure(stub.url, pools=[pool])) as gateway:
        gateway.wait_ready()
        bodies = [gateway.recommend(f"u{row}") for row in range(20)]
    crowded = [body for body in bodies if body["degraded"]]
    assert crowded
    assert all(reason.startswith("worker_refused:") for body in crowded for reason in body["reasons"])
    assert all("local" in sources(body) for body in crowded)


def test_client_that_leaves_takes_its_work_with_it(gateway: RunningGateway, stub: StubProcess, crowd: str):
    stub.order(delay_seconds=1.0)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    connection.request("POST", "/recommend", json.dumps({"user_id": crowd}))
    wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 1)
    left = time.perf_counter()
    connection.close()
    wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 0)
    assert time.perf_counter() - left < 0.5
    assert gateway.metric('localrec_request_seconds_count{outcome="client_gone"') == 1


def test_one_connection_serves_many_requests(gateway: RunningGateway, stub: StubProcess):
    stub.order(delay_seconds=0.02)  # long enough for the watch on the client to begin
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    for row in range(5):
        connection.request("POST", "/recommend", json.dumps({"user_id": f"u{row}"}))
        answer = connection.getresponse()
        assert json.loads(answer.read())["user_id"] == f"u{row}"
    connection.close()


def test_dead_port_is_a_warning_not_an_error(published: Bundle, configure):
    with running_gateway(configure(f"http://127.0.0.1:{free_port()}")) as gateway:
        wait_until(lambda: gateway.get("/readyz").status == 200)
        assert gateway.recommend("u0")["degraded"]
        assert gateway.get("/healthz").json == {"status": "ok"}


def test_one_slow_community_does_not_close_the_door_to_the_others(published: Bundle, stub: StubProcess, configure):
    """Calls of one burst are late together; what the others answered meanwhile speaks for the replica."""
    pool = {"name": "local", "urls": [stub.url], "probe_interval_ms": 50, "failures_to_open": 3, "cooldown_ms": 60_000}
    with running_gateway(configure(stub.url, pools=[pool], default_deadline_ms=400)) as gateway:
        gateway.wait_ready()
        stub.order(delays={"-c00": 5.0})
        ask = lambda row: gateway.recommend(f"u{row}", use_cache=False)["reasons"]  # noqa: E731
        with ThreadPoolExecutor(10) as threads:
            reasons = [reason for _ in range(2) for found in threads.map(ask, range(10)) for reason in found]
    stub.order()
    assert "worker_timeout:c00" in reasons
    assert {reason for reason in reasons if reason.startswith("worker_")} == {"worker_timeout:c00"}
