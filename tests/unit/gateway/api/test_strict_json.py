"""What counts as JSON. The oracle parses with the standard library and looks at the result."""

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.gateway.api.strict_json import MAX_DEPTH, MAX_DIGITS, strict_json
from service.gateway.errors import ApiError


def accepts(body: bytes) -> bool:
    try:
        strict_json(body)
    except ApiError as error:
        return (error.status, error.code) != (422, "invalid_json")
    return True


class _RefusedError(ValueError):
    pass


class _Pairs(list):
    """An object's pairs, all of them."""


def _refuse(_: str) -> Any:
    raise _RefusedError


def _number(text: str) -> float:
    if len(text) > MAX_DIGITS or abs(float(text)) == float("inf"):
        raise _RefusedError
    return float(text)


def _check(value: Any, depth: int) -> None:
    """Depth of objects and arrays; a pair itself is no level."""
    if isinstance(value, _Pairs):
        names = [name for name, _ in value]
        if depth == MAX_DEPTH or len(names) != len(set(names)):
            raise _RefusedError
        for name, part in value:
            name.encode()
            _check(part, depth + 1)
    elif isinstance(value, list):
        if depth == MAX_DEPTH:
            raise _RefusedError
        for part in value:
            _check(part, depth + 1)
    elif isinstance(value, str):
        value.encode()


def oracle(body: bytes) -> bool:
    try:
        document = json.loads(
            body.decode(), object_pairs_hook=_Pairs, parse_constant=_refuse, parse_int=_number, parse_float=_number
        )
        _check(document, 0)
    except (ValueError, RecursionError):
        return False
    return True


NUMBERS = ["1", "-0", "1e9", "1e999", "9" * 33, "NaN", "Infinity", "true", "null"]
STRINGS = ['"a"', '"b"', '"', "\\", "\\u", '"\\ud83d\\ude00"', '"\\ud800"', '"[[{{"', "é", "\ufeff", "\x00"]
TOKENS = st.sampled_from(["{", "}", "[", "]", ",", ":", " ", "\n", "[" * 33, *NUMBERS, *STRINGS])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)


@given(st.lists(TOKENS, max_size=40).map("".join).map(lambda text: text.encode()))
@example(b"")
@example(b'{"a":1,"a":1}')
@example(b'{"a":1,"\\u0061":1}')
def test_agrees_with_the_oracle_on_soup(body: bytes):
    assert accepts(body) == oracle(body)


@given(VALUES)
def test_agrees_with_the_oracle_on_documents(value: Any):
    body = json.dumps(value).encode()
    assert accepts(body) == oracle(body)


@given(st.binary(max_size=60))
def test_bytes_are_refused_or_json_and_never_an_error(body: bytes):
    assert accepts(body) == oracle(body)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=6))
def test_key_that_occurs_twice_is_refused_and_named(pairs: list[tuple[str, int]]):
    body = ("{" + ",".join(f'"{name}": {value}' for name, value in pairs) + "}").encode()
    names = [name for name, _ in pairs]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if not twice:
        strict_json(body)
        return
    with pytest.raises(ApiError) as caught:
        strict_json(body)
    assert caught.value.message == f"Invalid JSON: duplicate key {twice[0]!r}"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_depth_has_a_limit_that_is_exact(opening: bytes):
    closing = {b"[": b"]", b'{"a":': b"}", b'[{"a":': b"}]"}[opening]
    levels = len(closing)
    assert accepts(opening * (MAX_DEPTH // levels) + b"1" + closing * (MAX_DEPTH // levels))
    assert not accepts(b"[" + opening * (MAX_DEPTH // levels) + b"1" + closing * (MAX_DEPTH // levels) + b"]")


def test_brackets_in_strings_and_side_by_side_are_no_depth():
    assert accepts(json.dumps(["[" * 100, '\\"{' * 50, [[]] * 100]).encode())


EVIL = [
    b"[" * 65_000,
    b'{"a":' * 13_000,
    b'"' * 65_535,
    b'["\\' * 16_000,
    b"[" * 33 + b'"\\"' * 21_000 + b"\\",
    b"[" * 33 + b'"\\' * 32_000,
    b"1" * 65_000,
    b"-" * 65_000,
    b"{" + b",".join(b'"%d":1' % number for number in range(7_000)) + b',"6999":1}',
]


@pytest.mark.parametrize("body", EVIL, ids=range(len(EVIL)))
def test_nothing_of_64_kib_takes_long(body: bytes):
    started = time.perf_counter()
    assert not accepts(body)
    assert time.perf_counter() - started < 0.2  # some milliseconds; quadratic would be seconds


def test_usual_body_costs_little():
    body = b'{"user_id": "196", "n": 10, "exclude_items": ["50", "172"], "explain": true, "deadline_ms": 150}'
    best = min(_seconds(body) for _ in range(50))
    assert best < 50e-6  # 3 µs on a quiet machine


def _seconds(body: bytes) -> float:
    started = time.perf_counter()
    strict_json(body)
    return time.perf_counter() - started
