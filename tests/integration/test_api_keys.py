"""API keys on a gateway that runs: let in, turned away, rotated."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.processes import wait_until
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle
from models.contract.errors import ConfigError
from service.gateway.app import create_app
from service.gateway.security.keys import digest_of
from service.gateway.server import SECURITY_HEADERS

QUERY = {"user_id": "u0"}


def entry(name: str, key: str, more: str = "", scopes: str = '["recommend"]') -> str:
    digest = digest_of(key.encode()).hex()
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest}"\nscopes = {scopes}\n{more}\n'


class Keyed:
    """A gateway with keys, and its file."""

    def __init__(self, gateway: RunningGateway, path: Path) -> None:
        self.gateway, self.path = gateway, path

    def post(self, key: str | None, body: Any = QUERY, path: str = "/recommend") -> Reply:
        headers: Mapping[str, str] = {} if key is None else {"Authorization": f"Bearer {key}"}
        return request(self.gateway.port, "POST", path, body, headers=headers)

    def status(self, key: str | None) -> int:
        return self.post(key).status


@pytest.fixture
def keyed(published: Bundle, stub: StubProcess, configure: Callable[..., Any], tmp_path: Path) -> Iterator[Keyed]:
    path = tmp_path / "keys.toml"
    path.write_text(
        entry("shop", "lrk_shop") + entry("slow", "lrk_slow", "rate_per_s = 0.1\nburst = 2")
        + entry("events", "lrk_events", scopes='["events"]') + entry("hasty", "lrk_hasty", "deadline_ms = 50")
    )  # fmt: skip
    with running_gateway(configure(stub.url, security={"keys_file": path})) as gateway:
        gateway.wait_ready()
        yield Keyed(gateway, path)


def test_keys_decide(keyed: Keyed):
    assert [keyed.status(key) for key in (None, "lrk_wrong", "lrk_shop", "lrk_events")] == [401, 401, 200, 403]
    assert [keyed.status("lrk_slow") for _ in range(3)] == [200, 200, 429]
    reply = keyed.post("lrk_slow")
    assert reply.json["error"]["code"] == "rate_limited"
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert keyed.post(None).headers["www-authenticate"].startswith("Bearer")
    for outcome, count in (("ok", 2), ("rate_limited", 2)):
        assert keyed.gateway.metric(f'localrec_access_total{{key="slow",outcome="{outcome}"}}') == count
    assert keyed.gateway.metric('localrec_access_total{key="",outcome="unauthorized"}') == 3
    assert keyed.gateway.get("/readyz").json["access"] == "keys"


def test_a_batch_counts_as_its_requests(keyed: Keyed):
    reply = keyed.post("lrk_slow", {"requests": [{"user_id": f"u{row}"} for row in range(4)]}, "/recommend/batch")
    assert reply.status == 200
    refused = keyed.post("lrk_slow")
    assert refused.status == 429
    assert 20 < int(refused.headers["retry-after"]) <= 30  # three tokens of a tenth a second


def test_key_gives_the_deadline(keyed: Keyed, stub: StubProcess):
    stub.order(delay_seconds=0.5)
    assert "worker_timeout" in str(keyed.post("lrk_hasty").json["reasons"])
    assert keyed.post("lrk_shop").json["degraded"] is False


def test_key_of_a_batch_leaves_room_for_people(
    published: Bundle, stub: StubProcess, configure: Callable[..., Any], tmp_path: Path
):
    path = tmp_path / "keys.toml"
    path.write_text(entry("shop", "lrk_shop") + entry("nightly", "lrk_nightly", 'priority = "batch"'))
    with running_gateway(configure(stub.url, security={"keys_file": path}, limits={"min": 2, "max": 2})) as gateway:
        gateway.wait_ready()
        keyed = Keyed(gateway, path)
        stub.order(delay_seconds=0.6)
        with ThreadPoolExecutor() as pool:
            first = pool.submit(keyed.status, "lrk_nightly")
            wait_until(lambda: gateway.metric("localrec_requests_in_flight") == 1)
            assert keyed.status("lrk_nightly") == 503  # batches may use half of the limit
            assert keyed.status("lrk_shop") == 200
            assert first.result() == 200


def test_what_is_refused_is_not_read(keyed: Keyed):
    assert keyed.post(None, b"{").status == 401
    assert keyed.post("lrk_shop", b"{").status == 422
    assert keyed.post(None, path="/nowhere").status == 404


def test_keys_rotate_while_requests_go_on(keyed: Keyed):
    keyed.path.write_text(entry("shop", "lrk_shop") + entry("shop-2", "lrk_new"))
    wait_until(lambda: keyed.status("lrk_new") == 200, 3.0)
    assert keyed.status("lrk_shop") == 200
    keyed.path.write_text(entry("shop-2", "lrk_new"))
    wait_until(lambda: keyed.status("lrk_shop") == 401, 3.0)
    keyed.path.write_text("[[keys]")
    wait_until(lambda: "keys.toml" in str(keyed.gateway.get("/readyz").json["warnings"]), 3.0)
    assert keyed.status("lrk_new") == 200


def test_no_key_is_in_a_log(keyed: Keyed, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    for key in ("lrk_shop", "lrk_guessed", "lrk_events"):
        keyed.post(key)
        keyed.post(key, b"\xff")
    assert "lrk_" not in caplog.text
    assert "lrk_" not in keyed.gateway.get("/metrics").body.decode()


def test_every_answer_carries_the_headers(keyed: Keyed):
    gateway = keyed.gateway
    answers = [keyed.post("lrk_shop"), keyed.post(None), keyed.post("lrk_shop", b"{")]
    answers += [gateway.get(path) for path in ("/readyz", "/metrics", "/nowhere", "/recommend", "/healthz?%00")]
    answers.append(keyed.post("lrk_shop", b" " * 100_000))
    assert [answer.status for answer in answers] == [200, 401, 422, 200, 200, 404, 401, 422, 413]
    for answer in answers:
        assert "server" not in answer.headers
        for name, value in SECURITY_HEADERS:
            assert answer.headers[name.lower()] == value


async def test_without_its_keys_file_a_gateway_does_not_start(configure: Callable[..., Any], tmp_path: Path):
    app = create_app(configure("http://127.0.0.1:1", security={"keys_file": tmp_path / "none.toml"}))
    with pytest.raises(ConfigError, match=r"none\.toml"):
        async with app.router.lifespan_context(app):
            pass


def test_open_gateway_says_so(gateway: RunningGateway):
    assert gateway.get("/readyz").json["access"] == "open"
    assert gateway.recommend("u0")["items"]
