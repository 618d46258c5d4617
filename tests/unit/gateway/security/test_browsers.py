"""Which requests may be a foreign page's."""

import pytest

from service.gateway.security.browsers import suspicion

HOSTS = [b"127.0.0.1:9090", b"localhost:9090", b"[::1]:9090", b"127.0.0.1", b"localhost", b"[::1]", b"LOCALHOST:1"]
FOREIGN_HOSTS = [
    b"shop.example:9090",
    b"shop.example",
    b"localhost.shop.example",
    b"127.0.0.1.shop.example:9090",
    b"127.0.0.1:9090@shop.example",
    b"10.0.0.1:9090",
    b"[::1",
    b"",
]


@pytest.mark.parametrize("host", HOSTS)
def test_own_page_may_ask(host: bytes) -> None:
    assert not suspicion({b"host": host}, has_pages=True)
    assert not suspicion({b"host": host, b"origin": b"http://" + host}, has_pages=True)
    assert not suspicion({b"host": host, b"origin": b"https://" + host}, has_pages=True)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_name_that_was_pointed_here_is_refused(host: bytes) -> None:
    assert "names of its own machine" in suspicion({b"host": host}, has_pages=True)
    assert suspicion({b"host": host, b"origin": b"http://" + host}, has_pages=True)


def test_without_a_host_nobody_asks() -> None:
    assert suspicion({}, has_pages=True)


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"",
        b"http://shop.example",
        b"http://localhost:9091",
        b"http://127.0.0.1:9090",  # another name of the same machine is another origin
        b"http://localhost:9090.shop.example",
        b"file://localhost:9090",
        b"localhost:9090",
    ],
)
def test_foreign_page_is_refused(origin: bytes) -> None:
    assert "page" in suspicion({b"host": b"localhost:9090", b"origin": origin}, has_pages=True)


def test_port_without_pages_takes_no_browser_and_any_name() -> None:
    assert not suspicion({b"host": b"gateway:8080"}, has_pages=False)
    assert suspicion({b"host": b"localhost:8080", b"origin": b"http://localhost:8080"}, has_pages=False)
