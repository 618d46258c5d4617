"""Experiments in a gateway that serves: assigned, reloaded, overridden, shadowed, recorded."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.bundles import make_bundle, users_of
from support.gateway import RunningGateway, running_gateway
from support.processes import wait_until
from support.stub_worker import StubProcess

from localrec.bench.synthetic import write_users
from localrec.cli import main
from models.contract.bundle import Bundle
from models.contract.records import Exposure, decode_exposures
from models.contract.redis_schema import EXPOSURES

DOOR = """
header_override = {override}
[[layers]]
name = "l"
[[layers.experiments]]
name = "{name}"
salt = "s"
variants = [{{name = "a", weight = 1, pipeline = "local"}}, {{name = "b", weight = 1, pipeline = "cf"}}]
"""
SHADOW = """
[[shadows]]
name = "beside"
share = 1.0
pipeline = "local"
parameters = {deadline_ms = 10000}
"""
POLLED_MS = 30
Serve = Callable[[str], AbstractContextManager[RunningGateway]]


def door(name: str = "door", override: bool = False) -> str:
    """An experiment of everybody, between local models and the CF model."""
    return DOOR.format(name=name, override=str(override).lower())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experiments.toml"


@pytest.fixture
def serve(published: Bundle, stub: StubProcess, configure: Any, path: Path) -> Serve:
    """A gateway with a file of experiments, which it reads all the time."""

    @contextmanager
    def start(text: str) -> Iterator[RunningGateway]:
        path.write_text(text)
        keys = {"experiments_file": path, "experiments_poll_ms": POLLED_MS}
        with running_gateway(configure(stub.url, default_pipeline="cf", **keys)) as gateway:
            gateway.wait_ready()
            yield gateway

    return start


def exposures(redis_url: str, n: int) -> list[Exposure]:
    """All that are in the stream, once there are ``n``."""
    with Redis.from_url(redis_url) as redis:
        read = lambda: [shown for _, fields in redis.xrange(EXPOSURES) for shown in decode_exposures(fields)]  # noqa: E731
        wait_until(lambda: len(read()) >= n, what=f"{n} exposures")
        return read()


def test_the_variant_decides_the_pipeline(serve: Serve):
    with serve(door()) as gateway:
        bodies = [gateway.recommend(f"u{row}") for row in range(20)]
        assert gateway.metric('localrec_assignments_total{experiment="door",variant="b"}') > 0
    assert {(body["experiments"]["door"], body["pipeline"]) for body in bodies} == {("a", "local"), ("b", "cf")}


class Load:
    """Requests without a pause from several threads, until they are told to stop."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.experiments: Counter[str] = Counter()
        self.failures: list[Any] = []
        self._gateway = gateway
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(3)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, experiment: str) -> None:
        """Until more requests than threads were in it: some of those began after this call."""
        before = self.experiments[experiment]
        wait_until(lambda: self.experiments[experiment] > before + len(self._threads), what=experiment)

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            reply = self._gateway.post({"user_id": f"u{number}"})
            if reply.status == 200 and not reply.json["degraded"]:
                self.experiments.update(list(reply.json["experiments"]))
            else:
                self.failures.append(reply.body)


def test_a_changed_file_costs_no_request_and_a_bad_one_changes_nothing(serve: Serve, path: Path):
    refused = 'localrec_experiments_reloads_total{outcome="refused"}'
    with serve(door("old")) as gateway, Load(gateway) as load:
        load.wait_for("old")
        path.write_text(door("new"))
        load.wait_for("new")
        assert gateway.metric('localrec_experiments_reloads_total{outcome="loaded"}') == 1
        path.write_text(door("bad").replace('"cf"', '"gone"'))
        wait_until(lambda: gateway.metric(refused) == 1)
        load.wait_for("new")
        readiness = gateway.get("/readyz")
        assert readiness.status == 200
        assert [warning for warning in readiness.json["warnings"] if "'gone' is not configured" in warning]
        path.write_text(door("last"))
        load.wait_for("last")
        assert gateway.get("/readyz").json["warnings"] == []
        assert gateway.metric(refused) == 1
    assert load.failures == []
    assert load.experiments.keys() == {"old", "new", "last"}


def test_kill_switch_acts_without_a_restart(serve: Serve, path: Path):
    with serve(door()) as gateway:
        assert gateway.recommend("u0")["experiments"]
        path.write_text(f"kill_switch = true\n{door()}")
        wait_until(lambda: gateway.recommend("u0")["experiments"] == {})
        assert gateway.recommend("u0")["pipeline"] == "cf"


def ask_for(gateway: RunningGateway, header: str) -> Any:
    return gateway.post({"user_id": "u0"}, headers={"X-LocalRec-Variants": header})


def test_a_request_may_ask_for_variants_where_the_file_allows_it(serve: Serve, redis_url: str):
    with serve(door(override=True)) as gateway:
        for variant, pipeline in (("a", "local"), ("b", "cf")):
            body = ask_for(gateway, f"door={variant}").json
            assert (body["experiments"], body["pipeline"]) == ({"door": variant}, pipeline)
        for wrong in ("door=c", "gate=a", "door", "door=a,door=b"):
            reply = ask_for(gateway, wrong)
            assert (reply.status, reply.json["error"]["code"]) == (422, "invalid_request")
            assert reply.json["error"]["field"] == "X-LocalRec-Variants"
        gateway.recommend("u0")
        assert [shown.forced for shown in exposures(redis_url, 3)] == [True, True, False]


def test_elsewhere_it_is_ignored_and_said(serve: Serve, redis_url: str):
    with serve(door()) as gateway:
        drawn = gateway.recommend("u0")
        for header in ("door=a", "door=b", "nonsense"):
            body = ask_for(gateway, header).json
            assert body["experiments"] == drawn["experiments"]
            assert body["reasons"] == ["override_ignored"]
            assert not body["degraded"]
        assert drawn["reasons"] == []
        assert not any(shown.forced for shown in exposures(redis_url, 4))


def test_the_deadline_is_the_requests_then_the_variants(serve: Serve, stub: StubProcess):
    hasty = 'pipeline = "local", parameters = {deadline_ms = 60}'
    with serve(door(override=True).replace('pipeline = "local"', hasty)) as gateway:
        stub.order(delay_seconds=0.3)
        headers = {"X-LocalRec-Variants": "door=a"}
        assert gateway.post({"user_id": "u0"}, headers=headers).json["degraded"]
        patient = gateway.post({"user_id": "u0", "deadline_ms": 2_000}, headers=headers).json
        assert not patient["degraded"]


def test_a_shadow_is_recorded_and_costs_the_response_nothing(serve: Serve, stub: StubProcess, redis_url: str):
    with serve(SHADOW) as gateway:
        stub.order(delay_seconds=1.0)
        started = time.monotonic()
        body = gateway.recommend("u0")
        assert time.monotonic() - started < 0.8
        assert body["pipeline"] == "cf"
        assert {item["source"] for item in body["items"]} == {"cf"}
        shown, shadow = exposures(redis_url, 2)
        assert gateway.metric('localrec_shadows_total{outcome="answered",shadow="beside"}') == 1
    assert (shown.shadow, shown.pipeline, shown.items) == ("", "cf", tuple(item["item_id"] for item in body["items"]))
    assert (shadow.shadow, shadow.pipeline, shadow.request_id) == ("beside", "local", body["request_id"])
    assert set(shadow.sources) == {"local"}
    assert shadow.latency_ms > 900 > shown.latency_ms


def test_shadows_that_run_do_not_hold_up_the_end(serve: Serve, stub: StubProcess):
    with serve(SHADOW) as gateway:
        stub.order(delay_seconds=8.0)
        gateway.recommend("u0")
        started = time.monotonic()
    assert time.monotonic() - started < 5


def test_exposures_say_what_was_shown_to_whom_and_why(serve: Serve, redis_url: str, published: Bundle):
    context = {"page": "home", "mobile": True}
    with serve(door(override=True)) as gateway:
        headers = {"X-LocalRec-Variants": "door=a"}
        body = gateway.post({"user_id": "u0", "explain": True, "context": context}, headers=headers).json
        (shown,) = exposures(redis_url, 1)
    assert (shown.request_id, shown.user_id, shown.bundle_id) == (body["request_id"], "u0", published.id)
    assert (shown.pipeline, shown.experiments, shown.forced) == ("local", {"door": "a"}, True)
    assert abs(shown.timestamp_ms - time.time() * 1e3) < 60_000
    assert 0 < shown.latency_ms <= body["timings_ms"]["total"]
    assert (shown.degraded, shown.cached, shown.shadow, shown.context) == (False, False, "", context)
    assert shown.items == tuple(item["item_id"] for item in body["items"])
    names = {f"c{vote['community']:02d}" for item in body["items"] for vote in item["explanation"]}
    assert names <= set(shown.voters)
    for item, ranks in zip(body["items"], shown.ranks, strict=True):
        explained = {f"c{vote['community']:02d}": vote["rank"] for vote in item["explanation"]}
        assert {voter: rank for voter, rank in zip(shown.voters, ranks, strict=True) if rank} == explained


def test_a_gateway_does_not_start_with_a_bad_file(tmp_path: Path, path: Path, capsys: pytest.CaptureFixture[str]):
    path.write_text(door())  # there is no pipeline `local` without a configuration
    config = tmp_path / "gateway.toml"
    config.write_text(f'experiments_file = "{path}"')
    with pytest.raises(SystemExit) as ended:
        main(["serve", "gateway", "--config", str(config), "--port", "0"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"localrec: {path}: door.a.pipeline: 'local' is not configured; expected one of cf\n"
    )


def test_a_variants_users_are_served_from_its_bundle(published: Bundle, serve: Serve, path: Path, redis_url: str):
    """A canary: the other half stays on the bundle in service, and where it cannot be served, all do."""
    canary = make_bundle(published.directory.parent, n_users=60, seed=5)
    with Redis.from_url(redis_url) as redis:
        write_users(redis, canary, users_of(canary))
    variants = f'[{{name = "new", weight = 1, bundle = "{canary.id}"}}, {{name = "old", weight = 1}}]'
    text = f'[[layers]]\nname = "l"\n[[layers.experiments]]\nname = "canary"\nvariants = {variants}\n'
    with serve(text) as gateway:
        wait_until(lambda: canary.id in {gateway.recommend(f"u{row}")["model_version"] for row in range(8)})
        bodies = [gateway.recommend(f"u{row}") for row in range(40)]
        by_variant = {(body["experiments"]["canary"], body["model_version"]) for body in bodies}
        assert by_variant == {("new", canary.id), ("old", published.id)}
        assert not [body for body in bodies if body["degraded"] or body["reasons"]]
        path.write_text(text.replace(canary.id, "no-such-bundle"))
        wait_until(lambda: gateway.get("/readyz").json["warnings"])
        reasons = {tuple(gateway.recommend(f"u{row}")["reasons"]) for row in range(20)}
        assert reasons == {(), ("bundle_not_ready:no-such-bundle",)}
