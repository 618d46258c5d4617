"""Connections that owe something, on raw sockets against a real uvicorn with short limits."""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from support.processes import free_port, wait_until

from service.gateway.security.settings import HttpSettings
from service.gateway.server import SECURITY_HEADERS, server_config

LIMITS = HttpSettings(header_timeout_s=0.3, body_timeout_s=0.4, keep_alive_s=1, header_bytes=1_024, header_count=8)
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"


LARGE = 16 * 2**20  # more than the kernel takes for a client that does not read


class App:
    """Reads the body at ``/read``, and answers ``/x`` without a look at it, ``/large`` with much."""

    def __init__(self) -> None:
        self.gone = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["path"] == "/read":
            try:
                body = await Request(scope, receive).body()
            except Exception:
                self.gone += 1
                raise
        await Response(b"a" * LARGE if scope["path"] == "/large" else b"read " + body)(scope, receive, send)


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def server(app: App) -> Iterator[uvicorn.Server]:
    port = free_port()
    config = server_config(app, "127.0.0.1", port, LIMITS)
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    time.sleep(0.15)  # uvicorn adds the headers that all answers have in its first tick
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def port(server: uvicorn.Server) -> int:
    return server.config.port


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """What comes until the server closes. Raises TimeoutError where it does not."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def trickle(connection: socket.socket, pieces: Sequence[bytes], pause_seconds: float) -> bytes:
    """Send until an answer comes; the answer."""
    for piece in pieces:
        connection.sendall(piece)
        readable, _, _ = select.select([connection], [], [], pause_seconds)
        if readable:
            break
    return rest(connection)


def error_of(answer: bytes) -> tuple[int, str]:
    """Status and code; the answer must be whole, in the one shape, and say that the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "connection: close" in lines
    assert f"content-length: {len(body)}" in lines
    assert {f"{name}: {value}".lower() for name, value in SECURITY_HEADERS} <= set(lines)
    document = json.loads(body)
    assert document.keys() == {"error", "request_id"}
    return int(lines[0].split()[1]), document["error"]["code"]


def test_connection_that_says_nothing_is_closed_without_a_word(connection: socket.socket):
    started = time.monotonic()
    assert rest(connection) == b""
    assert 0.2 < time.monotonic() - started < 1.5


@pytest.mark.parametrize("start", [b"G", b"GET /x HTTP/1.1\r\n", GET[:-2], GET[:-1], b"\r\n"])
def test_head_that_does_not_end_is_refused(connection: socket.socket, start: bytes):
    started = time.monotonic()
    connection.sendall(start)
    assert error_of(rest(connection)) == (408, "header_timeout")
    assert time.monotonic() - started < 1.5


def test_head_that_trickles_gets_no_more_time(connection: socket.socket):
    started = time.monotonic()
    answer = trickle(connection, [b"G", b"ET /x HTTP/1.1\r\n", *[b"A: b\r\n"] * 5], 0.06)
    assert error_of(answer) == (408, "header_timeout")
    assert time.monotonic() - started < 0.9


@pytest.mark.parametrize(
    "start",
    [
        POST,
        POST + b"abc",
        b"POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab",
    ],
)
def test_body_that_does_not_end_is_refused_and_the_application_learns_it(
    connection: socket.socket, app: App, start: bytes
):
    before = app.gone
    connection.sendall(start)
    assert error_of(rest(connection)) == (408, "body_timeout")
    wait_until(lambda: app.gone == before + 1)


def test_body_that_nobody_reads_ends_the_connection_too(connection: socket.socket):
    connection.sendall(POST.replace(b"/read", b"/x") + b"a")
    answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"408" not in answer


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"])
def test_answer_that_nobody_takes_is_not_kept_for_ever(
    connection: socket.socket, server: uvicorn.Server, ending: bytes
):
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\n" + ending + b"\r\n")
    wait_until(lambda: bool(server.server_state.connections))
    wait_until(lambda: not server.server_state.connections, 4)
    assert len(rest(connection)) < LARGE


def test_large_answer_is_whole(connection: socket.socket):
    connection.sendall(GET.replace(b"/x", b"/large"))
    assert len(rest(connection)) > LARGE


def test_second_head_on_a_kept_connection_has_its_own_time(connection: socket.socket):
    connection.sendall(GET)
    assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
    time.sleep(0.5)  # idle for longer than a head may take
    connection.sendall(GET)
    assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
    connection.sendall(GET[:10])
    assert error_of(rest(connection)) == (408, "header_timeout")


def test_blank_lines_do_not_keep_a_connection(connection: socket.socket):
    """They are no request, yet they stop the timer of a kept connection."""
    connection.sendall(GET)
    connection.recv(4_096)
    connection.sendall(b"\r\n")
    assert error_of(rest(connection)) == (408, "header_timeout")


def test_kept_connection_is_closed_after_its_time(connection: socket.socket):
    connection.sendall(GET)
    started = time.monotonic()
    assert rest(connection).startswith(b"HTTP/1.1 200")
    assert 0.8 < time.monotonic() - started < 2.5


def test_request_in_many_pieces_within_the_time_is_answered(connection: socket.socket):
    request = POST + b"abcd" + GET
    for at in range(0, len(request), 9):
        connection.sendall(request[at : at + 9])
        time.sleep(0.005)
    answers = rest(connection)
    assert answers.count(b"HTTP/1.1 200") == 2
    assert b"read abcd" in answers


def test_requests_behind_each_other_in_one_piece_are_answered(connection: socket.socket):
    connection.sendall((POST + b"abcd") * 20)
    assert rest(connection).count(b"read abcd") == 20


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"


@pytest.mark.parametrize("upgrade", [H2C, H2C.replace(b"Upgrade: ", b"upgrade: ")])
def test_offer_of_another_protocol_is_ignored_and_the_body_read(connection: socket.socket, upgrade: bytes):
    """Java's client offers HTTP/2 with its first request, whatever that is."""
    connection.sendall(POST.replace(b"Host: h\r\n", b"Host: h\r\n" + upgrade))
    time.sleep(0.1)  # it sends the body on its own
    connection.sendall(b"abcd" + GET)
    answers = rest(connection)
    assert b"read abcd" in answers
    assert answers.count(b"HTTP/1.1 200") == 2


def test_body_behind_an_offer_in_pieces_is_no_request(connection: socket.socket):
    smuggled = GET.replace(b"/x", b"/smuggled")
    connection.sendall(POST.replace(b"Content-Length: 4\r\n\r\n", b"Content-Length: %d\r\n" % len(smuggled)) + H2C[:40])
    time.sleep(0.1)
    connection.sendall(H2C[40:] + b"\r\n")
    time.sleep(0.1)
    with suppress(OSError):
        connection.sendall(smuggled)
    assert error_of(rest(connection)) == (400, "bad_http")


SMUGGLING = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"Content-Length: 4, 4\r\n\r\nabcd",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
]


@pytest.mark.parametrize("ambiguous", SMUGGLING)
def test_body_whose_end_could_be_read_in_two_ways_is_refused(connection: socket.socket, ambiguous: bytes):
    connection.sendall(b"POST /read HTTP/1.1\r\nHost: h\r\n" + ambiguous + GET)
    assert error_of(rest(connection)) == (400, "bad_http")


HEADERS = b"".join(b"H%d: v\r\n" % number for number in range(8))


@pytest.mark.parametrize(
    "head",
    [
        GET[:-2] + HEADERS + b"\r\n",
        GET[:-2] + b"Long: " + b"v" * 1_024 + b"\r\n\r\n",
        GET[:-2] + b"Long: " + b"v" * 2_000,  # without an end
        GET[:-2] + b"v" * 2_000,
        b"GET /" + b"x" * 1_024 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 2_000,
    ],
)
def test_large_heads_are_refused(connection: socket.socket, head: bytes):
    connection.sendall(head)
    assert error_of(rest(connection)) == (431, "header_too_large")


def test_large_head_in_small_pieces_is_refused(connection: socket.socket):
    answer = trickle(connection, [b"GET /x HTTP/1.1\r\n", *[b"A: " + b"v" * 40 + b"\r\n"] * 30], 0.005)
    assert error_of(answer) == (431, "header_too_large")


def test_large_body_behind_a_small_head_is_no_large_head(connection: socket.socket):
    connection.sendall(POST.replace(b"Length: 4", b"Length: 60000") + b"a" * 60_000)
    assert connection.recv(4_096).startswith(b"HTTP/1.1 200")


NO_HTTP = [
    b"\x16\x03\x01\x02\x00",  # the start of TLS
    b"GET\r\n\r\n",
    b"GET /x HTTP/9.9\r\n\r\n",
    b"CONNECT h:1 HTTP/1.1\r\n\r\n",
    POST.replace(b"Length: 4", b"Length: -4"),
    POST.replace(b"Length: 4", b"Length: " + b"9" * 40),
    GET.replace(b"/x", b"/\xff"),
    GET.replace(b"Host: h", b"Ho st: h"),
    GET.replace(b"Host: h", b"Host: \x00h"),
]


@pytest.mark.parametrize("request_", NO_HTTP)
def test_what_is_no_http_is_refused(connection: socket.socket, request_: bytes):
    connection.sendall(request_)
    assert error_of(rest(connection)) == (400, "bad_http")


def test_bad_chunk_is_refused_in_the_middle_of_a_body(connection: socket.socket):
    connection.sendall(b"POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert error_of(rest(connection)) == (400, "bad_http")


def test_many_that_say_nothing_hold_up_nobody(port: int):
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(200)]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(GET)
            assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
        assert {rest(connection) for connection in idle} == {b""}
    finally:
        for connection in idle:
            connection.close()


def test_no_answer_names_the_server(connection: socket.socket):
    connection.sendall(GET)
    assert b"server:" not in connection.recv(4_096).lower()
