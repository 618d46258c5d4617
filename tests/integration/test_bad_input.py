"""Every way to ask wrongly: the one error shape, nothing logged as an exception, nothing stored."""

import gzip
import logging
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from support.gateway import RunningGateway, running_gateway
from support.http import Reply, request
from support.stub_worker import StubProcess

from models.contract.bundle import Bundle

BAD_FIELDS: list[tuple[str, dict[str, Any]]] = [
    ("user_id", {"user_id": ""}),
    ("user_id", {"user_id": "a\nb"}),
    ("user_id", {"user_id": "a\u0085b"}),
    ("user_id", {"user_id": "x" * 257}),
    ("user_id", {"user_id": 7}),
    ("user_id", {"n": 3}),
    ("n", {"user_id": "u", "n": 0}),
    ("n", {"user_id": "u", "n": 101}),
    ("n", {"user_id": "u", "n": "10"}),
    ("n", {"user_id": "u", "n": 1.5}),
    ("n", {"user_id": "u", "n": True}),
    ("n", {"user_id": "u", "n": None}),
    ("history", {"user_id": "u", "history": "i1"}),
    ("history", {"user_id": "u", "history": ["i"] * 1_001}),
    ("history.1", {"user_id": "u", "history": ["i1", ""]}),
    ("history.0", {"user_id": "u", "history": ["\x00"]}),
    ("exclude_items.0", {"user_id": "u", "exclude_items": [3]}),
    ("exclude_seen", {"user_id": "u", "exclude_seen": "yes"}),
    ("deadline_ms", {"user_id": "u", "deadline_ms": 0}),
    ("deadline_ms", {"user_id": "u", "deadline_ms": 10_001}),
    ("explain", {"user_id": "u", "explain": 1}),
    ("candidates", {"user_id": "u", "candidates": []}),
    ("candidates", {"user_id": "u", "candidates": ["i"] * 1_001}),
    ("candidates.0", {"user_id": "u", "candidates": [1]}),
    ("filters", {"user_id": "u", "filters": ["brand"]}),
    ("filters", {"user_id": "u", "filters": {str(number): ["x"] for number in range(21)}}),
    ("filters.brand", {"user_id": "u", "filters": {"brand": "x"}}),
    ("filters.brand", {"user_id": "u", "filters": {"brand": {}}}),
    ("filters.brand.any_of", {"user_id": "u", "filters": {"brand": []}}),
    ("filters.brand.any_of.0", {"user_id": "u", "filters": {"brand": [1]}}),
    ("filters.brand.none_of", {"user_id": "u", "filters": {"brand": {"none_of": "x"}}}),
    ("filters.price.min", {"user_id": "u", "filters": {"price": {"min": "1"}}}),
    ("filters.price.max", {"user_id": "u", "filters": {"price": {"max": True}}}),
    ("filters.price", {"user_id": "u", "filters": {"price": {"min": 2, "max": 1}}}),
    ("filters.price.below", {"user_id": "u", "filters": {"price": {"below": 1}}}),
    ("strict_filters", {"user_id": "u", "strict_filters": 1}),
    ("surprise", {"user_id": "u", "surprise": 1}),
]


def check_error(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """The one error shape; returns the error."""
    assert reply.status == status, reply.body
    assert reply.json.keys() == {"error", "request_id"}
    assert len(reply.json["request_id"]) == 16
    error: dict[str, Any] = reply.json["error"]
    assert error.keys() == {"code", "message", "field"}
    assert error["code"] == code
    assert error["message"]
    return error


@pytest.mark.parametrize(("field", "body"), BAD_FIELDS, ids=str)
def test_bad_field_is_named(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, field: str, body: dict[str, Any]
):
    with caplog.at_level(logging.WARNING):
        error = check_error(gateway.post(body), 422, "invalid_request")
    assert error["field"] == field
    assert not caplog.records


@pytest.mark.parametrize(
    "body", [b"", b"{", b"user_id=u", b"\xff\xfe", b'{"user_id": "\\ud800"}', b'{"user_id": "u"} x']
)
def test_what_is_no_json_is_refused(gateway: RunningGateway, body: bytes):
    check_error(gateway.post(body), 422, "invalid_json")


AMBIGUOUS = [
    ("duplicate key 'n'", b'{"user_id": "u", "n": 1, "n": 2}'),
    ("duplicate key 'user_id'", b'{"user_id": "u", "user\\u005fid": "v"}'),
    ("NaN is no JSON", b'{"user_id": "u", "diversity": NaN}'),
    ("-Infinity is no JSON", b'{"user_id": "u", "context": {"x": -Infinity}}'),
    ("beyond the range", b'{"user_id": "u", "diversity": 1e999}'),
    ("more than 32 digits", b'{"user_id": "u", "n": 1' + b"0" * 400 + b"}"),
    ("nested deeper than 32", b'{"user_id": "u", "context": ' + b"[" * 500 + b"]" * 500 + b"}"),
    ("nested deeper than 32", b'{"a":' * 13_000),
    ("not UTF-8", b'{"user_id": "\xed\xa0\x80"}'),
    ("surrogate", b'{"user_id": "\\ud800"}'),
    ("", b'\xef\xbb\xbf{"user_id": "u"}'),
    ("", '{"user_id": "u"}'.encode("utf-16")),
    ("control character", b'{"user_id": "a\nb"}'),
]


@pytest.mark.parametrize(("why", "body"), AMBIGUOUS)
def test_json_that_parsers_disagree_on_is_refused(gateway: RunningGateway, why: str, body: bytes):
    assert why in check_error(gateway.post(body), 422, "invalid_json")["message"]


def test_compressed_bodies_and_odd_paths_are_refused(gateway: RunningGateway):
    encoded = request(gateway.port, "POST", "/recommend", gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
    check_error(encoded, 415, "encoded_body")
    assert check_error(gateway.get("/users/%00"), 422, "invalid_request")["field"] == "path"
    assert check_error(gateway.get("/healthz?a=%fe"), 422, "invalid_request")["field"] == "query"
    check_error(gateway.get("/" + "a" * 5_000), 414, "uri_too_long")


def test_damaged_requests_are_answered_or_closed_and_never_a_bug(
    published: Bundle, stub: StubProcess, configure, caplog: pytest.LogCaptureFixture
):
    """Bytes of a good request changed, cut, doubled and mixed: 300 times, of one seed."""
    body = b'{"user_id": "u0", "n": 3, "history": ["i1", "i2"]}'
    good = b"POST /recommend HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    draw = random.Random(0)  # noqa: S311 - a test's
    damaged = [_damaged(good, draw) for _ in range(300)]
    settings = configure(stub.url, http={"header_timeout_s": 0.2, "body_timeout_s": 0.2, "keep_alive_s": 1})
    with running_gateway(settings) as gateway, ThreadPoolExecutor(16) as threads:
        gateway.wait_ready()
        statuses = set(threads.map(lambda data: _status(gateway.port, data), damaged))
        assert gateway.recommend("u0")["items"]
    assert {200, 400, 404, 408, 422} <= statuses
    assert not [status for status in statuses if status is not None and status >= 500]
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


def _damaged(good: bytes, draw: random.Random) -> bytes:
    data = bytearray(good)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + draw.randint(1, 20)]
            case 2:
                data[at:at] = data[: draw.randint(1, 30)]
            case _:
                data[at:at] = draw.randbytes(draw.randint(1, 8))
        if not data:
            return b""
    return bytes(data)


def _status(port: int, data: bytes) -> int | None:
    """Status of the first answer; None where the connection ended without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(data)
            answer = connection.recv(65_536)
        except ConnectionError:
            return None
    return int(answer.split(b" ", 2)[1]) if answer else None


@pytest.mark.parametrize("body", [b"[]", b"null", b'"u0"', b"[" * 10_000])
def test_json_of_another_shape_is_refused(gateway: RunningGateway, body: bytes):
    assert gateway.post(body).status == 422


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_are_refused_however_they_are_sent(gateway: RunningGateway, chunked: bool):
    body = b'{"user_id": "' + b"u" * 65_536 + b'"}'
    check_error(gateway.post(body, chunked=chunked), 413, "body_too_large")
    assert gateway.recommend("u0", history=["i1"] * 1_000)["items"]  # what fits still goes


def test_paths_and_methods_that_do_not_exist(gateway: RunningGateway):
    check_error(gateway.get("/nowhere"), 404, "not_found")
    reply = request(gateway.port, "GET", "/recommend")
    check_error(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


def test_nothing_is_stored(gateway: RunningGateway, redis_url: str):
    with Redis.from_url(redis_url) as redis:
        before = set(redis.keys())
        gateway.post({"user_id": "new", "n": 0})
        gateway.post(b"{")
        assert set(redis.keys()) == before


@pytest.mark.parametrize("user_id", ["{u}", "}", "ü", "日本" * 100, "a b", "'; drop", "../..", "*"])
def test_odd_ids_are_users_like_any_other(gateway: RunningGateway, user_id: str):
    assert gateway.recommend(user_id, history=["i1"])["user_id"] == user_id
