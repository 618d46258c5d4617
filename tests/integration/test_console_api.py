"""What the console asks of the operators' port: each endpoint, each error."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.bundles import publish, users_of
from support.gateway import running_gateway
from support.http import Reply, request
from support.operators import Operators
from support.portraits import with_portrait
from support.processes import free_port, wait_until
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle, open_bundle
from models.contract.portrait import PORTRAIT
from service.gateway.security.keys import digest_of


@pytest.fixture
def operators(published: Bundle, stub: StubProcess, configure: Callable[..., Any]) -> Iterator[Operators]:
    with serving(configure, stub.url) as operators:
        operators.gateway.wait_ready()
        yield operators


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as redis:
        yield redis


@contextmanager
def serving(configure: Callable[..., Any], url: str, **changes: Any) -> Iterator[Operators]:
    """A gateway with its operators' port."""
    port = free_port()
    admin = {"port": port} | changes.pop("admin", {})
    with running_gateway(configure(url, admin=admin, **changes)) as gateway:
        yield Operators(gateway, port)


@contextmanager
def portrayed(
    bundle: Bundle, stub: StubProcess, configure: Callable[..., Any], redis_url: str, root: Path
) -> Iterator[tuple[Operators, Bundle]]:
    """A gateway whose bundle shows its communities, and the bundle."""
    shutil.copytree(bundle.directory, root / bundle.id)
    shown = with_portrait(open_bundle(root / bundle.id))
    publish(redis_url, shown, users_of(shown))
    with serving(configure, stub.url, bundle_root=root) as operators:
        operators.gateway.wait_ready()
        yield operators, shown


def error_of(reply: Reply) -> tuple[int, str, str | None]:
    assert reply.json.keys() == {"error", "request_id"}
    return reply.status, reply.json["error"]["code"], reply.json["error"]["field"]


def test_service_says_how_it_is_set(operators: Operators, published: Bundle) -> None:
    serving = published.manifest.serving
    assert operators.get("/admin/service").json == {
        "ready": True,
        "reasons": [],
        "warnings": [],
        "access": "open",
        "bundle": published.id,
        "default_pipeline": "local",
        "default_deadline_ms": 2_000,
        "pipelines": [
            {
                "name": "local",
                "kind": "local",
                "pool": "local",
                "max_communities": 100,
                "fusion": {"method": "rrf", "k": serving.k, "candidates": serving.candidates, "voters": {}},
            },
            {"name": "cf", "kind": "cf", "pool": None, "max_communities": None, "fusion": None},
        ],
    }


def test_users_and_items_are_found(operators: Operators) -> None:
    assert operators.get("/admin/users?prefix=u1&limit=3").json == {"user_ids": ["u1", "u10", "u11"], "more": True}
    assert operators.get("/admin/users?prefix=nobody").json == {"user_ids": [], "more": False}
    found = operators.get("/admin/items?query=ITEM+17&limit=2").json
    assert found == {
        "items": [{"item_id": "i17", "title": "Item 17"}, {"item_id": "i117", "title": "Item 117"}],
        "more": True,
    }


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/admin/users?limit=0", "limit"),
        ("/admin/users?limit=101", "limit"),
        ("/admin/users?limit=many", "limit"),
        ("/admin/users?prefix=" + "u" * 257, "prefix"),
        ("/admin/users?name=u", "name"),
        ("/admin/users?prefix=%00", "query"),
        ("/admin/items", "query"),
        ("/admin/items?query=", "query"),
        ("/admin/items?query=" + "i" * 257, "query"),
        ("/admin/items?query=i&limit=101", "limit"),
    ],
)
def test_searches_are_bounded(operators: Operators, path: str, field: str) -> None:
    assert error_of(operators.get(path)) == (422, "invalid_request", field)


def test_bundle_says_what_it_is(operators: Operators, published: Bundle) -> None:
    body = operators.get(f"/admin/bundles/{published.id}").json
    files = published.manifest.files
    assert body == {
        "bundle_id": published.id,
        "created_at": "2025-01-01T00:00:00Z",
        "in_service": True,
        "metrics": {},
        "data_statistics": {},
        "config": {"n_users": 50, "seed": 0},
        "n_communities": 4,
        "further": [],
        "n_files": len(files),
        "bytes": sum(entry.bytes for entry in files.values()),
    }


@pytest.mark.parametrize("bundle_id", ["never-heard-of", "..", "%2e%2e", "..%2F..%2Fetc", ".hidden", "a%20b"])
def test_bundle_that_there_is_not(operators: Operators, bundle_id: str) -> None:
    status, code, _ = error_of(operators.get(f"/admin/bundles/{bundle_id}"))
    assert (status, code) == (404, "not_found")


def test_bundle_with_a_damaged_manifest_is_told_without_its_place(operators: Operators, published: Bundle) -> None:
    damaged = published.directory.parent / "damaged"
    damaged.mkdir()
    try:
        (damaged / "manifest.json").write_text("{}")
        reply = operators.get("/admin/bundles/damaged")
        assert error_of(reply) == (409, "bad_bundle", "bundle_id")
        assert "schema_version is None" in reply.json["error"]["message"]
        assert str(damaged.parent) not in reply.body.decode()
    finally:
        shutil.rmtree(damaged)


def test_workers_tell_breaker_adapters_and_latency(operators: Operators, stub: StubProcess, published: Bundle) -> None:
    for user in range(5):
        operators.gateway.recommend(f"u{user}")
    (worker,) = operators.get("/admin/workers").json["workers"]
    names = sorted(published.adapter_name(name) for name in published.manifest.model.adapters)
    assert (worker["url"], worker["breaker"], worker["in_flight"]) == (stub.url, "closed", 0)
    assert worker["adapters"] == names
    latency = worker["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"]
    assert latency["n"] >= 5


def test_worker_that_is_gone_is_told(operators: Operators, stub: StubProcess) -> None:
    stub.kill()
    try:
        wait_until(lambda: operators.get("/admin/workers").json["workers"][0]["reason"] != "")
        assert operators.get("/admin/service").json["warnings"] != []
    finally:
        stub.start()


def test_portrait_is_shown_with_names_and_titles(
    bundle: Bundle, stub: StubProcess, configure: Callable[..., Any], redis_url: str, tmp_path: Path
) -> None:
    with portrayed(bundle, stub, configure, redis_url, tmp_path) as (operators, shown):
        body = operators.get("/admin/communities").json
        users = users_of(shown)
        assert (body["bundle_id"], body["n_users"]) == (shown.id, len(users.ids))
        assert [each["adapter"] for each in body["communities"]] == ["c00", "c01", "c02", "c03"]
        assert [each["name"] for each in body["communities"]] == [f"community {n}" for n in range(4)]
        assert [each["members"][0] for each in body["communities"]] == ["u0", "u1", "u2", "u3"]
        item = body["communities"][0]["items"][0]
        assert item["title"] == f"Item {item['item_id'][1:]}"
        assert (len(body["map"]["users"]), len(body["map"]["anchors"])) == (len(users.ids), 4)
        assert [body["overlap"][n][n] for n in range(4)] == [1.0] * 4


def test_who_was_deleted_is_not_named_among_members(
    bundle: Bundle, stub: StubProcess, configure: Callable[..., Any], redis_url: str, tmp_path: Path
) -> None:
    with portrayed(bundle, stub, configure, redis_url, tmp_path) as (operators, _):
        named = [set(each["members"]) for each in operators.get("/admin/communities").json["communities"]]
        assert any("u1" in members for members in named)
        assert request(operators.gateway.port, "DELETE", "/users/u1").status == 200
        left = [set(each["members"]) for each in operators.get("/admin/communities").json["communities"]]
        assert left == [members - {"u1"} for members in named]


def test_portrait_that_cannot_be_read_keeps_nothing_from_service(
    bundle: Bundle, stub: StubProcess, configure: Callable[..., Any], redis_url: str, tmp_path: Path
) -> None:
    with portrayed(bundle, stub, configure, redis_url, tmp_path) as (operators, shown):
        shown.path(PORTRAIT).write_text("[]")
        reply = operators.get("/admin/communities")
        assert error_of(reply) == (404, "no_portrait", None)
        assert PORTRAIT in reply.json["error"]["message"]
        assert operators.gateway.recommend("u0")["degraded"] is False


def test_older_bundle_has_no_portrait_and_without_a_setting_there_is_no_report(operators: Operators) -> None:
    for path, code in (("/admin/communities", "no_portrait"), ("/admin/experiments/report", "no_report")):
        assert error_of(operators.get(path)) == (404, code, None)


def test_report_of_experiments_is_shown_as_it_was_written(
    published: Bundle, stub: StubProcess, configure: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    with serving(configure, stub.url, admin={"experiment_report": path}) as operators:
        assert error_of(operators.get("/admin/experiments/report")) == (404, "no_report", None)
        path.write_text('{"experiments": [1.50]}')
        assert operators.get("/admin/experiments/report").body == b'{"experiments": [1.50]}'
        path.write_text('{"experiments": ')
        assert error_of(operators.get("/admin/experiments/report")) == (409, "bad_report", None)
        path.unlink()
        path.mkdir()
        assert error_of(operators.get("/admin/experiments/report")) == (409, "bad_report", None)


def test_before_the_first_bundle(redis_url: str, stub: StubProcess, configure: Callable[..., Any]) -> None:
    with serving(configure, stub.url) as operators:
        for path in ("/admin/items?query=i", "/admin/communities"):
            assert error_of(operators.get(path)) == (503, "no_bundle", None)
        assert error_of(operators.post("/admin/try", {"request": {"user_id": "u0"}}))[:2] == (503, "no_bundle")
        body = operators.get("/admin/service").json
        assert (body["ready"], body["bundle"]) == (False, None)
        assert [each["fusion"] for each in body["pipelines"]] == [None, None]
        assert operators.get("/admin/users").json == {"user_ids": [], "more": False}


def test_without_redis(operators: Operators, redis: Redis) -> None:
    redis.execute_command("CLIENT", "PAUSE", "2500", "ALL")  # longer than it is waited for
    assert error_of(operators.get("/admin/users?prefix=u"))[:2] == (503, "store_unavailable")
    assert operators.get("/admin/items?query=item").status == 200
    tried = operators.post("/admin/try", {"request": {"user_id": "u0", "deadline_ms": 300}}).json["answer"]
    assert tried["degraded"]
    assert tried["reasons"][0].startswith("redis_unavailable")
    wait_until(lambda: operators.get("/admin/users?prefix=u").status == 200)


def test_openapi_document_names_what_there_is(operators: Operators) -> None:
    document = operators.get("/admin/openapi.json").json
    assert document["paths"]["/admin/try"]["post"]["requestBody"]["required"] is True
    assert {"/admin/service", "/admin/users", "/admin/items", "/admin/communities"} <= document["paths"].keys()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://localhost:{port}", "Host": "localhost:{port}"}, 200),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "https://shop.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "shop.example:{port}"}, 403),
        ({"Host": "shop.example", "Origin": "http://shop.example"}, 403),
    ],
)
def test_without_keys_no_foreign_page_asks(operators: Operators, headers: dict[str, str], status: int) -> None:
    sent = {name: value.format(port=operators.port) for name, value in headers.items()}
    before = refused(operators)
    assert operators.get("/admin/service", **sent).status == status
    assert operators.post("/admin/try", {"request": {"user_id": "u0"}}, **sent).status == status
    assert refused(operators) - before == (2 if status == 403 else 0)
    assert operators.get("/console", **sent).status in (200, 404)  # pages are no secret
    assert operators.get("/healthz", **sent).status == 200


def test_gateways_own_port_has_no_console_and_takes_no_browser(operators: Operators) -> None:
    own = Operators(operators.gateway, operators.gateway.port)
    assert error_of(own.get("/console")) == (404, "not_found", None)
    assert error_of(own.get("/console/index.html")) == (404, "not_found", None)
    before = refused(operators)
    assert own.get("/users/u0", Origin=f"http://127.0.0.1:{own.port}").status == 403
    assert refused(operators) - before == 1
    assert own.get("/users/u0", Host="gateway:8080").status == 200  # a backend calls it by any name


def test_with_keys_pages_are_open_and_data_are_not(
    published: Bundle, stub: StubProcess, configure: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "keys.toml"
    entries = [
        f'[[keys]]\nname = "{name}"\nsha256 = "{digest_of(name.encode()).hex()}"\nscopes = ["{name}"]\n'
        for name in ("admin", "recommend")
    ]
    path.write_text("".join(entries))
    with serving(configure, stub.url, security={"keys_file": path}) as operators:
        assert operators.get("/console").status in (200, 404)
        for call in (operators.get, lambda path, **headers: operators.post("/admin/try", {}, **headers)):
            assert call("/admin/service").status == 401
            assert call("/admin/service", Authorization="Bearer recommend").status == 403
        elsewhere = {"Host": "console.example", "Origin": "https://console.example"}
        assert operators.get("/admin/service", Authorization="Bearer admin", **elsewhere).json["access"] == "keys"
        assert operators.get("/admin/openapi.json").status == 401


def refused(operators: Operators) -> float:
    return operators.gateway.metric('localrec_access_total{key="",outcome="forbidden"}')
