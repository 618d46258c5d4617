"""Fixtures that more than one directory of tests needs."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from localrec.redis_server import find_redis_server, redis_server
from models.contract.errors import MissingExtraError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOCALREC_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A directory whose path is short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="lr-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[str]:
    try:
        find_redis_server()
    except MissingExtraError as exc:
        pytest.skip(str(exc))
    with tempfile.TemporaryDirectory(prefix="lr-") as directory, redis_server(Path(directory)) as url:
        yield url


@pytest.fixture
def redis_url(_shared_redis: str) -> str:
    """URL of a real, empty redis-server."""
    with Redis.from_url(_shared_redis) as redis:
        redis.flushall()
    return _shared_redis
