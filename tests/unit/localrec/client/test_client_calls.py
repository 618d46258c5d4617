"""The clients against answers that are made up: what is sent, what is read, what is tried again."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from localrec.client import (
    ApiError,
    Ask,
    AsyncClient,
    Client,
    Event,
    ItemFilter,
    MalformedAnswerError,
    Recommendation,
    RefusedRequest,
    TimeoutExceededError,
    UnreachableError,
)

Handler = Callable[[httpx.Request], httpx.Response]
ANSWER: dict[str, Any] = {
    "request_id": "r1",
    "user_id": "u",
    "items": [{"item_id": "i", "rank": 1, "score": 0.5, "source": "cf", "invented_later": 1}],
    "model_version": "b",
    "experiments": {"e": "v"},
    "pipeline": "cf",
    "degraded": False,
    "reasons": [],
    "timings_ms": {"total": 1.0},
}


class Service:
    """Gives the prepared answers one after the other, the last for ever, and keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def client(service: Service, **options: Any) -> Client:
    return Client("http://service", transport=httpx.MockTransport(service), **options)


def error(status: int, code: str, field: str | None = None, **headers: str) -> httpx.Response:
    body = {"error": {"code": code, "message": "no", "field": field}, "request_id": "r9"}
    return httpx.Response(status, json=body, headers={key.replace("_", "-"): value for key, value in headers.items()})


def test_what_is_not_said_is_not_sent():
    service = Service(httpx.Response(200, json=ANSWER))
    answer = client(service, api_key="k").recommend("u")
    assert service.bodies == [{"user_id": "u"}]
    assert service.requests[0].headers["Authorization"] == "Bearer k"
    assert (answer.items[0].item_id, answer.experiments) == ("i", {"e": "v"})


def test_every_field_travels():
    service = Service(httpx.Response(200, json=ANSWER))
    fields: dict[str, Any] = {
        "n": 3,
        "history": ["a"],
        "context": {"page": "home"},
        "exclude_items": ["b"],
        "exclude_seen": False,
        "candidates": ["c"],
        "filters": {"brand": ["x"], "price": ItemFilter(max=3.0)},
        "strict_filters": False,
        "diversity": 0.5,
        "max_per": {"brand": 1},
        "deadline_ms": 50,
        "explain": True,
        "use_cache": False,
    }
    client(service).recommend("u", **fields)
    assert service.bodies == [{"user_id": "u", **fields, "filters": {"brand": ["x"], "price": {"max": 3.0}}}]


def test_a_batch_keeps_refusals_apart():
    refused = {"user_id": "v", "error": {"code": "invalid_request", "message": "no", "field": "n"}}
    service = Service(httpx.Response(200, json={"request_id": "r", "responses": [ANSWER, refused]}))
    first, second = client(service).recommend_batch([Ask(user_id="u"), Ask(user_id="v", n=3)])
    assert isinstance(first, Recommendation)
    assert isinstance(second, RefusedRequest)
    assert second.error.field == "n"
    assert service.bodies == [{"requests": [{"user_id": "u"}, {"user_id": "v", "n": 3}]}]


def test_ids_in_paths_are_encoded():
    service = Service(
        httpx.Response(200, json={"request_id": "r", "item_id": "a/b", "items": [], "model_version": "m"})
    )
    client(service).similar("a/b ?", n=5)
    assert service.requests[0].url.raw_path == b"/items/a%2Fb%20%3F/similar?n=5"


def test_events_are_given_ids_that_survive_a_retry():
    done = {"request_id": "r", "accepted": 1, "duplicates": 0, "outcomes": [{"event_id": "e", "status": "accepted"}]}
    service = Service(httpx.ConnectError("down"), httpx.Response(200, json=done))
    assert client(service).record(Event("click", "u", "i")).accepted == 1
    first, second = service.bodies
    assert first == second
    assert len(first["events"][0]["event_id"]) == 32


@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_did_nothing_is_tried_again(status: int):
    service = Service(error(status, "overloaded"), httpx.Response(200, json=ANSWER))
    assert client(service).recommend("u").user_id == "u"
    assert len(service.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500, 504])
def test_what_would_end_the_same_way_is_not(status: int):
    service = Service(error(status, "broken", "n"))
    with pytest.raises(ApiError) as caught:
        client(service).recommend("u")
    assert len(service.requests) == 1
    said = caught.value
    assert (said.status, said.code, said.field, said.request_id) == (status, "broken", "n", "r9")


def test_retries_end():
    service = Service(httpx.ConnectError("refused"))
    with pytest.raises(UnreachableError):
        client(service, retries=2).recommend("u")
    assert len(service.requests) == 3


def test_a_service_that_wants_to_be_left_alone_beyond_the_deadline_is():
    service = Service(error(503, "overloaded", Retry_After="30"))
    started = time.monotonic()
    with pytest.raises(ApiError) as caught:
        client(service).recommend("u")
    assert caught.value.retry_after_seconds == 30
    assert time.monotonic() - started < 0.5
    assert len(service.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"request_id": 1}'])
def test_what_is_no_answer_is_said(body: bytes):
    with pytest.raises(MalformedAnswerError):
        client(Service(httpx.Response(200, content=body))).recommend("u")


def test_a_proxys_error_page_is_an_error():
    with pytest.raises(ApiError, match="Bad gateway"):
        client(Service(httpx.Response(504, content=b"<h1>Bad gateway</h1>"))).recommend("u")


async def test_the_asynchronous_client_does_the_same():
    service = Service(error(503, "overloaded"), httpx.Response(200, json=ANSWER))
    async with AsyncClient("http://service", transport=httpx.MockTransport(service)) as asynchronous:
        assert (await asynchronous.recommend("u", n=2)).user_id == "u"
    assert service.bodies == [{"user_id": "u", "n": 2}] * 2


async def test_its_deadline_is_absolute():
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(10)
        return httpx.Response(200)

    transport = httpx.MockTransport(never)
    async with AsyncClient("http://service", timeout_seconds=0.05, transport=transport) as asynchronous:
        started = time.monotonic()
        with pytest.raises(TimeoutExceededError):
            await asynchronous.recommend("u")
    assert time.monotonic() - started < 1
