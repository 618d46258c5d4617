"""A bundle, a stub worker and settings for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.bundles import make_bundle, publish, users_of
from support.gateway import RunningGateway, running_gateway
from support.parts import make_bundle_with
from support.served_parts import N_ITEMS, PARTS, PIPELINES, part_workers, pools_of
from support.stub_worker import StubProcess, stub_process

from models.contract.bundle import Bundle
from models.contract.specs import Part
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


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with all further models."""
    return make_bundle_with(tmp_path_factory.mktemp("parts"), *PARTS, n_items=N_ITEMS)


@pytest.fixture(scope="session")
def _part_workers(whole: Bundle) -> Iterator[dict[Part, StubProcess]]:
    with part_workers(whole, *PARTS) as workers:
        yield workers


@pytest.fixture
def workers(_part_workers: dict[Part, StubProcess]) -> dict[Part, StubProcess]:
    """One for each further model, which do their duty and have no adapters yet."""
    for stub in _part_workers.values():
        stub.order(forget_adapters=True)
    return _part_workers


@pytest.fixture
def serve(configure: Configure, whole: Bundle, workers: dict[Part, StubProcess], redis_url: str) -> Any:
    """Starts a gateway by the name of its default pipeline."""
    publish(redis_url, whole, users_of(whole))

    @contextmanager
    def start(pipeline: str, ready: bool = True, **changes: Any) -> Iterator[RunningGateway]:
        keys = {"bundle_root": whole.directory.parent, "pools": pools_of(workers), "pipelines": PIPELINES} | changes
        with running_gateway(configure("", default_pipeline=pipeline, **keys)) as gateway:
            if ready:
                gateway.wait_ready()
            yield gateway

    return start
