"""The door: tables of routes, limits on paths, and what a request carries behind it."""

from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from service.gateway.api.access import guard
from service.gateway.api.front import Fronted
from service.gateway.api.scope import caller_of
from service.gateway.app import create_app
from service.gateway.security.access import Access
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import KeySettings, digest_of
from service.gateway.settings import Settings


class Gateway:
    """As much of one as the door needs."""

    def __init__(self) -> None:
        entry = {"name": "shop", "sha256": digest_of(b"key").hex(), "scopes": ["recommend"]}
        self.access = Access(Keyring([KeySettings.model_validate(entry)]), lambda *_: None)


async def who(request: Request) -> Response:
    return Response(caller_of(request).key)


@asynccontextmanager
async def lifespan(_: Fronted):
    yield {}


@pytest.fixture
def client() -> Any:
    app = Fronted("test", lifespan)
    for path in ("/recommend", "/items/{item_id:path}/similar", "/users/{user_id}", "/healthz"):
        app.add_route(path, who)
    guard(app)
    with TestClient(app) as client:
        client.app_state["gateway"] = Gateway()
        yield client


KEY = {"X-API-Key": "key"}


@pytest.mark.parametrize(
    ("path", "without", "with_key"),
    [
        ("/recommend", 401, 200),
        ("/items/a/similar", 401, 200),
        ("/items/a%2Fb/similar", 401, 200),
        ("/users/ann", 401, 403),
        ("/users/ann/more", 401, 403),
        ("/%75sers/ann", 401, 403),
        ("/healthz", 200, 200),
        ("/nowhere", 404, 404),
        ("/recommend/", 401, 404),
        ("//recommend", 404, 404),
    ],
)
def test_table_decides_by_the_first_part(client: TestClient, path: str, without: int, with_key: int):
    url = f"http://testserver{path}"
    assert client.get(url).status_code == without
    assert client.get(url, headers=KEY).status_code == with_key


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer wrong"), ("Authorization", "Bearer key")],
        [("X-API-Key", "key"), ("x-api-key", "wrong")],
        [("X-API-Key", "key"), ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")],
    ],
)
def test_header_that_decides_may_not_occur_twice(client: TestClient, headers: list[tuple[str, str]]):
    answer = client.get("/recommend", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_http")


def test_other_headers_may(client: TestClient):
    assert client.get("/recommend", headers=[*KEY.items(), ("Via", "a"), ("Via", "b")]).status_code == 200


def test_caller_is_in_the_state(client: TestClient):
    assert client.get("/recommend", headers=KEY).text == "shop"
    assert client.get("/healthz", headers=KEY).text == ""


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/healthz?x=%00", 422, "query"),
        ("/healthz?x=%ff", 422, "query"),
        ("/items/%0A/similar", 422, "path"),
        ("/items/%C2%85/similar", 422, "path"),
        ("/items/%ff/similar", 422, "path"),
        ("/items/%ED%A0%80/similar", 422, "path"),  # half a surrogate pair
        ("/items/%C0%AF/similar", 422, "path"),  # a slash, too long
        ("/items/" + "a" * 4_096, 414, None),
        ("/healthz?" + "a" * 4_096, 414, None),
        ("/items/%F0%9F%98%80%25/similar", 401, None),
    ],
)
def test_path_and_query_are_text(client: TestClient, path: str, status: int, field: str | None):
    reply = client.get(path)
    assert (reply.status_code, reply.json()["error"]["field"]) == (status, field)


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("identity, br", 415), ("Identity", 200)])
def test_body_must_not_be_compressed(client: TestClient, encoding: str, status: int):
    assert client.get("/recommend", headers=KEY | {"Content-Encoding": encoding}).status_code == status


def test_route_that_nobody_thought_of_keeps_the_application_from_starting():
    app = Fronted("test", lifespan)
    app.add_route("/secrets", who)
    with pytest.raises(ValueError, match="/secrets"):
        guard(app)


def test_application_does_not_redirect_where_a_host_header_says():
    assert create_app(Settings()).router.redirect_slashes is False
