"""The operators' port: bundles move on every gateway, items are hidden, and nobody else gets in."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.bundles import make_bundle
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess

from models import pointer
from models.contract.bundle import Bundle
from models.contract.redis_schema import CURRENT_BUNDLE, HIDDEN_ITEMS, HIDDEN_VERSION
from service.gateway.security.keys import digest_of

CONVERGE_SECONDS = 5.0


@dataclass(frozen=True)
class Admin:
    """A gateway and its operators' port."""

    gateway: RunningGateway
    port: int

    def get(self, path: str, **headers: str) -> Reply:
        return request(self.port, "GET", path, headers=headers)

    def post(self, path: str, **headers: str) -> Reply:
        return request(self.port, "POST", path, headers=headers)

    def activate(self, bundle_id: str) -> Reply:
        return self.post(f"/admin/bundles/{bundle_id}/activate")


@pytest.fixture
def admin(published: Bundle, stub: StubProcess, configure: Callable[..., Any]) -> Iterator[Admin]:
    port = free_port()
    with running_gateway(configure(stub.url, admin={"port": port})) as gateway:
        gateway.wait_ready()
        yield Admin(gateway, port)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def other(published: Bundle, redis: Redis) -> Bundle:
    """A second bundle on the same workers, published, not current."""
    bundle = make_bundle(published.directory.parent, seed=9)
    pointer.mark_published(bundle.id, redis)
    return bundle


def error_of(reply: Reply) -> tuple[int, str, str]:
    return reply.status, reply.json["error"]["code"], reply.json["error"]["message"]


def test_bundle_is_activated_and_rolled_back(admin: Admin, published: Bundle, other: Bundle):
    both = sorted([published.id, other.id])
    at_rest = {"published": both, "current": published.id, "previous": None, "in_service": published.id}
    assert admin.get("/admin/bundles").json == at_rest | {"canaries": {}, "kept": None, "refused": None}
    reply = admin.activate(other.id)
    assert (reply.status, reply.json["current"], reply.json["previous"]) == (200, other.id, published.id)
    wait_until(lambda: admin.gateway.recommend("u0")["model_version"] == other.id)
    assert admin.get("/admin/bundles").json["kept"] == published.id
    assert admin.post("/admin/bundles/rollback").json["current"] == published.id
    wait_until(lambda: admin.gateway.recommend("u0")["model_version"] == published.id)


def test_bad_bundle_moves_no_pointer(admin: Admin, published: Bundle, other: Bundle, redis: Redis):
    path = other.path("popularity.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    status, code, message = error_of(admin.activate(other.id))
    assert (status, code) == (409, "bad_bundle")
    assert "popularity.npy does not match its checksum" in message
    pointer.mark_published("only-in-redis", redis)
    assert error_of(admin.activate("only-in-redis"))[:2] == (409, "bad_bundle")
    assert error_of(admin.activate("never-heard-of"))[:2] == (404, "not_found")
    assert error_of(admin.activate("..%2F..%2Fetc"))[:2] == (404, "not_found")
    assert redis.get(CURRENT_BUNDLE) == published.id.encode()


def test_nothing_to_roll_back_to(admin: Admin, other: Bundle, redis: Redis):
    assert error_of(admin.post("/admin/bundles/rollback"))[:2] == (409, "bad_bundle")
    admin.activate(other.id)
    redis.srem("lr:bundles", admin.get("/admin/bundles").json["previous"])
    assert "not published any more" in error_of(admin.post("/admin/bundles/rollback"))[2]


def test_refused_bundle_is_shown_with_its_reason(admin: Admin, redis: Redis):
    pointer.mark_published("broken", redis)
    pointer.activate("broken", redis)
    wait_until(lambda: admin.get("/admin/bundles").json["refused"] is not None)
    refused = admin.get("/admin/bundles").json["refused"]
    assert refused["bundle"] == "broken"
    assert "not a bundle" in refused["reason"]


def test_three_gateways_follow_within_five_seconds(
    published: Bundle, other: Bundle, stub: StubProcess, configure: Callable[..., Any]
):
    """With the interval of looks at the pointer that is the default, and one of them under requests."""
    port = free_port()
    settings = [configure(stub.url, bundle_poll_ms=1_000, admin={"port": at}) for at in (port, 0, 0)]
    with ExitStack() as stack:
        gateways = [stack.enter_context(running_gateway(each)) for each in settings]
        for gateway in gateways:
            gateway.wait_ready()
        for path, target in ((f"/admin/bundles/{other.id}/activate", other), ("/admin/bundles/rollback", published)):
            assert request(port, "POST", path).status == 200
            moved = time.monotonic()
            wait_until(lambda target=target: versions(gateways) == {target.id}, CONVERGE_SECONDS)
            assert time.monotonic() - moved < CONVERGE_SECONDS


def versions(gateways: list[RunningGateway]) -> set[str]:
    bodies = [gateway.recommend("u0") for gateway in gateways]
    assert not any(body["degraded"] for body in bodies)
    return {body["model_version"] for body in bodies}


def test_items_are_hidden_and_shown(admin: Admin, redis: Redis):
    for path in ("i1/hide", "a%2Fb/hide", "%C3%BC/hide", "i1/show"):
        assert admin.post(f"/admin/items/{path}").status == 200
    assert admin.get("/admin/items/hidden").json == {"item_ids": ["a/b", "ü"]}
    assert redis.smembers(HIDDEN_ITEMS) == {b"a/b", "ü".encode()}
    assert redis.get(HIDDEN_VERSION) == b"4"
    assert error_of(admin.post(f"/admin/items/{'x' * 257}/hide"))[:2] == (422, "invalid_request")
    assert error_of(admin.post("/admin/items/a%00/hide"))[:2] == (422, "invalid_request")
    assert redis.get(HIDDEN_VERSION) == b"4"


def test_workers_and_experiments_are_shown(admin: Admin, stub: StubProcess, published: Bundle):
    body = admin.get("/admin/workers").json
    assert [(worker["url"], worker["bundles"]) for worker in body["workers"]] == [(stub.url, [published.id])]
    experiments = admin.get("/admin/experiments").json
    assert (experiments["refused"], experiments["file"]["layers"]) == (None, [])
    assert admin.get("/readyz").json["ready"] is True


def test_ports_are_two(admin: Admin):
    assert error_of(admin.gateway.get("/admin/bundles"))[:2] == (404, "not_found")
    assert error_of(admin.post("/recommend"))[:2] == (404, "not_found")
    assert error_of(admin.get("/admin/bundles/any/activate"))[:2] == (405, "method_not_allowed")
    assert "server" not in admin.get("/admin/bundles").headers


def test_where_there_are_keys_operators_need_one(
    published: Bundle, stub: StubProcess, configure: Callable[..., Any], tmp_path: Path
):
    path, port = tmp_path / "keys.toml", free_port()
    entries = [
        f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(name.encode()).hex()}"\nscopes = ["{name}"]\n'
        for name in ("admin", "recommend")
    ]
    path.write_text("".join(entries))
    settings = configure(stub.url, security={"keys_file": path}, admin={"port": port})
    with running_gateway(settings) as gateway:
        admin = Admin(gateway, port)
        replies = [admin.get("/admin/bundles", **{"X-API-Key": key}) for key in ("", "recommend", "admin")]
        assert [reply.status for reply in replies] == [401, 403, 200]
        assert admin.post("/admin/items/i1/hide").status == 401


def test_without_redis_it_says_so(admin: Admin, redis: Redis):
    redis.execute_command("CLIENT", "PAUSE", "1300", "ALL")  # longer than it is waited for
    assert error_of(admin.get("/admin/items/hidden"))[:2] == (503, "store_unavailable")
    wait_until(lambda: admin.get("/admin/items/hidden").status == 200)
