"""Who is let in, and why not."""

from collections.abc import Callable

import pytest

from service.gateway.errors import ApiError
from service.gateway.security.access import ANYONE, Access
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import KeySettings, digest_of

KEY = b"lrk_secret"


class Door:
    """An Access with one key, clocks that stand, and what it counted."""

    def __init__(self, **fields: object) -> None:
        values = {"name": "shop", "sha256": digest_of(KEY).hex(), "scopes": ["recommend"], **fields}
        self.now, self.wall, self.counted = 0.0, 1_000.0, list[tuple[str, str]]()
        ring = Keyring([KeySettings.model_validate(values)], clock=lambda: self.now)
        self.access = Access(ring, lambda *event: self.counted.append(event), lambda: self.wall)

    def refusal(self, headers: dict[bytes, bytes], needed: str = "recommend") -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.access.admit(headers, needed)
        return caught.value


@pytest.fixture
def door() -> Callable[..., Door]:
    return Door


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + KEY},
        {b"authorization": b"bearer  " + KEY + b" "},
        {b"x-api-key": KEY},
        {b"authorization": b"Basic dXNlcjpwYXNz", b"x-api-key": KEY},  # a proxy's own
    ],
)
def test_key_is_taken_from_either_header(door, headers: dict[bytes, bytes]):
    here = door()
    assert here.access.admit(headers, "recommend").key == "shop"
    assert here.counted == [("shop", "ok")]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": KEY},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Bearer wrong", b"x-api-key": KEY},
        {b"x-api-key": b""},
        {b"x-api-key": KEY + b"x"},
        {b"x-api-key": KEY * 100},
        {b"x-api-key": b"\xff\x00"},
    ],
)
def test_without_a_valid_key_nobody_enters(door, headers: dict[bytes, bytes]):
    here = door()
    error = here.refusal(headers)
    assert (error.status, error.code) == (401, "unauthorized")
    assert error.headers == {"WWW-Authenticate": 'Bearer realm="localrec"'}
    assert KEY.decode() not in error.message
    assert here.counted == [("", "unauthorized")]


def test_scope_that_is_missing_is_named_and_costs_no_token(door):
    here = door(rate_per_s=1, burst=1)
    error = here.refusal({b"x-api-key": KEY}, "admin")
    assert (error.status, error.code) == (403, "forbidden")
    assert "'admin'" in error.message
    assert here.access.admit({b"x-api-key": KEY}, "recommend").key == "shop"


def test_too_often_says_when_again(door):
    here = door(rate_per_s=0.4, burst=1)
    headers = {b"x-api-key": KEY}
    here.access.admit(headers, "recommend")
    error = here.refusal(headers)
    assert (error.status, error.code) == (429, "rate_limited")
    assert error.headers == {"Retry-After": "3"}
    here.now += 3.0
    here.access.admit(headers, "recommend")
    assert here.counted == [("shop", "ok"), ("shop", "rate_limited"), ("shop", "ok")]


def test_key_ends_at_its_instant(door):
    here = door(expires="1970-01-01T00:20:00Z")
    headers = {b"x-api-key": KEY}
    here.access.admit(headers, "recommend")
    here.wall = 1_200.0
    assert here.refusal(headers).message == "The API key has expired"


def test_clock_that_steps_back_neither_blocks_nor_opens(door):
    here = door(rate_per_s=1, burst=1)
    here.wall = -1e9
    here.access.admit({b"x-api-key": KEY}, "recommend")
    assert here.refusal({b"x-api-key": KEY}).code == "rate_limited"


def test_without_keys_everybody_is_let_in():
    access = Access(None, lambda *_: None)
    assert access.admit({}, "admin") is ANYONE
    assert access.admit({b"origin": b"http://a.example"}, "recommend") is ANYONE


def test_without_keys_no_page_in_an_operators_browser_is_an_operator():
    access = Access(None, lambda *_: None)
    with pytest.raises(ApiError) as caught:
        access.admit({b"origin": b"http://a.example", b"host": b"127.0.0.1:9000"}, "admin")
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
