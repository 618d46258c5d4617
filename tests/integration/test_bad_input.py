"""Every way to ask wrongly: the one error shape, nothing logged as an exception, nothing stored."""

import logging
from typing import Any

import pytest
from redis import Redis
from support.gateway import RunningGateway
from support.http import Reply, request

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
