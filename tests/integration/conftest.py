"""A bundle, a stub worker and settings for them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.bundles import make_bundle, publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.stub_worker import StubProcess, stub_process

from models.contract.bundle import Bundle
from service.gateway.settings import Settings

Configure = Callable[..., Settings]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def _shared_stub(bundle: Bundle) -> Iterator[StubProcess]:
    with stub_process(bundle.base_id, bundle.manifest.model.n_items) as stub:
        yield stub


@pytest.fixture
def stub(_shared_stub: StubProcess) -> StubProcess:
    """A worker that does its duty and has no adapters yet."""
    _shared_stub.order(forget_adapters=True)
    return _shared_stub


@pytest.fixture
def configure(bundle: Bundle, redis_url: str) -> Configure:
    """Settings for a worker's URL, with quick background loops; arguments replace keys."""

    def make(url: str, **changes: Any) -> Settings:
        values: dict[str, Any] = {
            "redis_url": redis_url,
            "bundle_root": bundle.directory.parent,
            "bundle_poll_ms": 50,
            "default_deadline_ms": 2_000,
            "redis_timeout_ms": 1_000,
            "default_pipeline": "local",
            "cache": {"ttl_ms": 0},
            "pools": [{"name": "local", "urls": [url], "probe_interval_ms": 50, "cooldown_ms": 50}],
            "pipelines": {"local": {"kind": "local", "pool": "local"}, "cf": {"kind": "cf"}},
        }
        return Settings(**(values | changes))

    return make


@pytest.fixture
def published(bundle: Bundle, redis_url: str) -> Bundle:
    """The bundle and its users, in Redis."""
    publish(redis_url, bundle, users_of(bundle))
    return bundle


@pytest.fixture
def gateway(published: Bundle, stub: StubProcess, configure: Configure) -> Iterator[RunningGateway]:
    """A gateway with pipeline ``local`` by default, and everything in order."""
    with running_gateway(configure(stub.url)) as running:
        running.wait_ready()
        yield running
