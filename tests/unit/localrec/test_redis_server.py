"""An own redis-server: starts, answers, keeps what it is told to keep, and is gone afterwards."""

from pathlib import Path

import pytest
from redis import Redis

from localrec.redis_server import find_redis_server, redis_server
from models.contract.errors import LocalRecError, MissingExtraError


def test_starts_on_a_socket_only_and_stops(short_tmp: Path):
    with redis_server(short_tmp) as url, Redis.from_url(url) as redis:
        assert url == f"unix://{short_tmp.resolve()}/redis.sock"
        assert redis.config_get("port") == {"port": "0"}
        redis.set("a", "1")
    assert not (short_tmp / "redis.sock").exists()


@pytest.mark.parametrize(("keep", "expected"), [(True, b"1"), (False, None)])
def test_keeps_what_it_is_told_to(short_tmp: Path, keep: bool, expected: bytes | None):
    with redis_server(short_tmp, keep=keep) as url, Redis.from_url(url) as redis:
        redis.set("a", "1")
    with redis_server(short_tmp, keep=keep) as url, Redis.from_url(url) as redis:
        assert redis.get("a") == expected


def test_long_path_is_refused(tmp_path: Path):
    with pytest.raises(LocalRecError, match="too long for a unix socket"), redis_server(tmp_path / ("x" * 100)):
        pass


def test_without_a_server_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"redis-embedded"):
        find_redis_server()


def test_a_second_server_does_not_take_the_first_ones_socket(short_tmp: Path):
    with redis_server(short_tmp) as url, Redis.from_url(url) as redis:
        with pytest.raises(LocalRecError, match="a Redis runs there already"), redis_server(short_tmp):
            pass
        with Redis.from_url(url) as another:
            assert another.ping()
        assert redis.ping()
