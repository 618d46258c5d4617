"""Keys in memory: found by their digest, all compared, their rights from the file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.contract.errors import ConfigError
from service.gateway.security import keyring as module
from service.gateway.security.keyring import Keyring
from service.gateway.security.keys import KeySettings, digest_of, new_key, parse_keys
from service.gateway.types import Caller


def settings(name: str, key: str, **fields: object) -> KeySettings:
    values = {"name": name, "sha256": digest_of(key.encode()).hex(), "scopes": ["recommend"], **fields}
    return KeySettings.model_validate(values)


def test_a_new_key_has_256_random_bits_and_a_prefix():
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {key[:4] for key in keys} == {"lrk_"}
    assert {len(key) for key in keys} == {4 + 43}


def test_key_is_found_and_no_other():
    ring = Keyring([settings("a", "one", deadline_ms=70, priority="batch"), settings("b", "two")])
    found = ring.find(b"one")
    assert found is not None
    assert found.caller == Caller("a", 70, batch=True)
    assert ring.find(b"two") is ring.keys[1]
    for wrong in (b"", b"on", b"one ", b"One", digest_of(b"one"), digest_of(b"one").hex().encode()):
        assert ring.find(wrong) is None


@pytest.mark.parametrize("presented", [b"k0", b"k9", b"wrong"])
def test_every_digest_is_compared_wherever_the_key_stands(monkeypatch: pytest.MonkeyPatch, presented: bytes):
    compared = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return a == b

    ring = Keyring([settings(f"n{number}", f"k{number}") for number in range(10)])
    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    ring.find(presented)
    assert compared == [key.digest for key in ring.keys]


def test_buckets_outlive_a_reading_of_the_file_where_their_limits_stay():
    first = Keyring([settings("a", "one", rate_per_s=1), settings("b", "two", rate_per_s=1)])
    buckets = [key.bucket for key in first.keys]
    second = Keyring([settings("a", "new", rate_per_s=1), settings("b", "two", rate_per_s=2)], before=first)
    assert second.keys[0].bucket is buckets[0]  # rotated: the caller is the same
    assert second.keys[1].bucket is not buckets[1]


def test_burst_is_a_second_of_requests_and_at_least_one():
    ring = Keyring([settings("a", "1", rate_per_s=5), settings("b", "2", rate_per_s=0.1), settings("c", "3")])
    assert [key.bucket and key.bucket.burst for key in ring.keys] == [5.0, 1.0, None]


ENTRY = f'[[keys]]\nname = "a"\nsha256 = "{"0" * 64}"\nscopes = ["events"]\n'


def test_file_says_what_it_says():
    (key,) = parse_keys((ENTRY + "expires = 2027-01-01T00:00:00Z\n").encode(), Path("f"))
    assert key.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert key.scopes == {"events"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "no keys"),
        ("keys = 3", "keys: "),
        ("[[keys]", "f: "),
        (ENTRY + ENTRY, "a name occurs twice"),
        (ENTRY + ENTRY.replace('"a"', '"b"'), "a digest occurs twice"),
        (ENTRY.replace("events", "root"), "keys.0.scopes"),
        (ENTRY.replace('["events"]', "[]"), "keys.0.scopes"),
        (ENTRY.replace("0" * 64, "lrk_pasted"), "keys.0.sha256"),
        (ENTRY + "burst = 3", "burst means nothing without rate_per_s"),
        (ENTRY + "rate_per_s = inf", "keys.0.rate_per_s"),
        (ENTRY + "expires = 2027-01-01T00:00:00", "keys.0.expires"),  # of which zone?
        (ENTRY + "surprise = 1", "keys.0.surprise"),
    ],
)
def test_file_that_is_wrong_anywhere_is_refused(content: str, named: str):
    with pytest.raises(ConfigError) as caught:
        parse_keys(content.encode(), Path("f"))
    assert named in str(caught.value)
    assert "lrk_pasted" not in str(caught.value)


def test_file_that_is_no_text_is_refused():
    with pytest.raises(ConfigError):
        parse_keys(b"\xff", Path("f"))
