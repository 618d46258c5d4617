"""The console's files over a real server: types, ETags, headers that occur once, and no way out of the directory."""

import http.client
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import uvicorn
from support.http import Reply, request
from support.processes import free_port, wait_until

from service.gateway.api.console import PAGES
from service.gateway.app import create_admin_app
from service.gateway.security.access import Access
from service.gateway.security.settings import HttpSettings
from service.gateway.server import SECURITY_HEADERS, server_config

SECRET = b"not for the console"


class Gateway:
    """As much of one as static files need."""

    access = Access(None, lambda *_: None)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    root = tmp_path_factory.mktemp("service")
    (root / "secret.txt").write_bytes(SECRET)
    (root / "console" / "pages").mkdir(parents=True)
    (root / "console" / "link.txt").symlink_to(root / "secret.txt")
    for name, text in {
        "index.html": "<!doctype html>",
        "app.js": "export {}",
        "style.css": "a {}",
        "mark.svg": "<svg/>",
        "pages/try.js": "//",
    }.items():
        (root / "console" / name).write_text(text)
    port = free_port()
    app = create_admin_app(Gateway(), root / "console")
    server = uvicorn.Server(server_config(app, "127.0.0.1", port, HttpSettings(), pages=PAGES))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join(10)


def get(port: int, path: str, **headers: str) -> Reply:
    return request(port, "GET", path, headers=headers)


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/index.html", "/console?page=try"])
def test_page_is_served(port: int, path: str) -> None:
    reply = get(port, path)
    assert (reply.status, reply.body) == (200, b"<!doctype html>")
    assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("app.js", {"text/javascript", "application/javascript"}),
        ("pages/try.js", {"text/javascript", "application/javascript"}),
        ("style.css", {"text/css"}),
        ("mark.svg", {"image/svg+xml"}),
    ],
)
def test_browsers_get_types_that_they_take_with_nosniff(port: int, name: str, types: set[str]) -> None:
    assert get(port, f"/console/{name}").headers["content-type"].partition(";")[0] in types


@pytest.mark.parametrize("path", ["/console", "/console/app.js", "/console/nothing.js", "/healthz", "/nowhere"])
def test_no_header_occurs_twice_and_the_policy_is_the_paths_own(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    headers = connection.getresponse().getheaders()
    connection.close()
    assert max(Counter(name.lower() for name, _ in headers).values()) == 1
    found = {name.lower(): value for name, value in headers}
    expected = {name.lower(): value for name, value in SECURITY_HEADERS}
    if path.startswith("/console"):
        expected |= {name.decode(): value.decode() for name, value in PAGES[b"console"]}
        assert "script-src 'self'" in found["content-security-policy"]
        assert "unsafe" not in found["content-security-policy"]
    assert expected.items() <= found.items()


def test_copy_that_is_still_the_same_is_not_sent_again(port: int) -> None:
    first = get(port, "/console/app.js")
    again = get(port, "/console/app.js", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert get(port, "/console/app.js", **{"If-None-Match": '"other"'}).status == 200


def test_head_says_what_get_would(port: int) -> None:
    head, whole = request(port, "HEAD", "/console/app.js"), get(port, "/console/app.js")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.body))


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/pages",
        "/console/../secret.txt",
        "/console/..%2Fsecret.txt",
        "/console/%2e%2e/secret.txt",
        "/console/pages/../../secret.txt",
        "/console/..%5Csecret.txt",
        "/console//etc/passwd",
        "/console/%2Fetc/passwd",
        "/console/link.txt",
        "/console/" + "a" * 300,
        "/consoles",
    ],
)
def test_there_is_no_way_out(port: int, path: str) -> None:
    reply = get(port, path)
    assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert SECRET not in reply.body


def test_other_methods_are_refused(port: int) -> None:
    reply = request(port, "POST", "/console/app.js")
    assert (reply.status, reply.json["error"]["code"]) == (405, "method_not_allowed")
