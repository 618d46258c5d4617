"""Redis behind TLS and a password: what the URL alone can say."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from support.bundles import publish, users_of
from support.gateway import running_gateway
from support.processes import wait_until
from support.tls import Authority, make_authority, tls_front

from localrec.pointing import connect
from localrec.redis_server import redis_server
from models.contract.bundle import Bundle
from models.contract.errors import LocalRecError
from service.gateway.store.operations import Operations
from service.gateway.store.redis_store import RedisStore
from service.gateway.types import StateUnavailableError

PASSWORD = "hunter2/:@"  # noqa: S105 - a test's
IN_URL = "hunter2%2F%3A%40"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def front(bundle: Bundle, authority: Authority, short_tmp: Path) -> Iterator[int]:
    """Port of a Redis that wants TLS, a client certificate and a password, and holds the bundle."""
    with redis_server(short_tmp) as url, tls_front(url.removeprefix("unix://"), authority) as port:
        publish(url, bundle, users_of(bundle))
        with Redis.from_url(url) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield port


def url_of(port: int, authority: Authority, password: str = IN_URL, **changes: Path | None) -> str:
    files = {
        "ssl_ca_certs": authority.path("ca.pem"),
        "ssl_certfile": authority.path("client.pem"),
        "ssl_keyfile": authority.path("client.key"),
    }
    query = "&".join(f"{name}={path}" for name, path in (files | changes).items() if path is not None)
    return f"rediss://:{password}@127.0.0.1:{port}/0?{query}"


def test_gateway_serves_from_it(front: int, authority: Authority, bundle: Bundle, stub, configure):
    with running_gateway(configure(stub.url, redis_url=url_of(front, authority))) as gateway:
        gateway.wait_ready()
        body = gateway.recommend("u0")
    assert (body["model_version"], body["degraded"]) == (bundle.id, False)


def test_command_line_speaks_to_it(front: int, authority: Authority):
    assert connect(url_of(front, authority)).ping()


async def test_whom_it_cannot_trust_it_does_not_speak_to(front: int, authority: Authority, tmp_path: Path):
    stranger = make_authority(tmp_path / "other")
    good, bad = url_of(front, authority), [
        url_of(front, authority, ssl_ca_certs=stranger.path("ca.pem")),
        url_of(front, authority, ssl_ca_certs=None),
        url_of(front, authority, ssl_certfile=None, ssl_keyfile=None),
        url_of(front, authority, ssl_certfile=stranger.path("client.pem"), ssl_keyfile=stranger.path("client.key")),
        url_of(front, authority).replace("127.0.0.1", "localhost"),  # not the certificate's name
        url_of(front, authority, password="wrong"),  # noqa: S106
    ]  # fmt: skip
    assert await answers(good)
    assert [await answers(url) for url in bad] == [False] * len(bad)


async def answers(url: str) -> bool:
    store = RedisStore(url, 1.0)
    try:
        await Operations(store).hidden()
    except StateUnavailableError:
        return False
    finally:
        await store.close()
    return True


@pytest.mark.parametrize("query", ["", "?password=hunter3"])
def test_command_line_shows_no_password(query: str):
    with pytest.raises(LocalRecError) as caught:
        connect(f"redis://user:hunter2@127.0.0.1:1/0{query}")
    assert "redis://user:***@127.0.0.1:1/0:" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_nothing_that_a_gateway_says_holds_a_secret(
    front: int, authority: Authority, stub, configure, caplog: pytest.LogCaptureFixture
):
    """Its whole log from the lowest level on, its readiness and its metrics: Redis refuses, is gone, is well."""
    caplog.set_level("DEBUG")
    said = []
    urls = [url_of(front, authority), url_of(front, authority, password="hunter2wrong"), "redis://:hunter2@127.0.0.1:1"]  # noqa: S106
    for url in urls:
        settings = configure(stub.url, redis_url=url, redis_grace_s=0.0)
        said.append(repr(settings))
        with running_gateway(settings) as gateway:
            wait_until(lambda gateway=gateway, well=url == urls[0]: gateway.get("/readyz").json["ready"] == well)
            gateway.post({"user_id": "u0", "history": ["i1"]})
            said += [str(gateway.get(path).body) for path in ("/readyz", "/metrics")]
    assert "127.0.0.1" in caplog.text
    assert "hunter2" not in "".join(said) + caplog.text
