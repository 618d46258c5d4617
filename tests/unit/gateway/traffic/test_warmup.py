"""A bundle that comes into service has nothing left to build, and goes without the collector's help."""

import gc
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pytest
from support.bundles import make_bundle

from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import GlobalPipeline, LocalPipeline
from service.gateway.traffic.collector import collector_at_rest
from service.gateway.traffic.warmup import warm_up
from service.workers.completion import Completion
from service.workers.types import Outcome

PIPELINES = [GlobalPipeline(kind="cf"), LocalPipeline(kind="local", pool="w")]


class Nobody:
    """Workers that must not be asked."""

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], completion: Completion, deadline: float
    ) -> list[Outcome]:
        raise AssertionError("a worker was asked")


def lazy(held: object) -> set[str]:
    """Names of what is built at its first use, and was not yet."""
    names = {name for name, value in vars(type(held)).items() if isinstance(value, cached_property)}
    assert names
    return names - vars(held).keys()


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path).directory)


def test_whatever_is_built_at_its_first_use_was_used(snapshot: Snapshot):
    assert lazy(snapshot)
    assert lazy(snapshot.cf)
    warm_up(Recommender({"w": Nobody()}), PIPELINES, snapshot)
    assert lazy(snapshot.cf) == set()
    of_operators = {"portrait", "titles"}  # no request waits for them
    assert lazy(snapshot) == {"_all_but", "filters"} | of_operators  # memories that begin empty


def test_the_collector_does_not_look_at_a_bundle_which_still_goes(tmp_path: Path):
    directory = make_bundle(tmp_path).directory
    frozen = gc.get_freeze_count()
    with collector_at_rest():
        assert not gc.isenabled()
        snapshot = load_snapshot(directory)
        warm_up(Recommender({"w": Nobody()}), PIPELINES, snapshot)
    assert gc.isenabled()
    assert gc.get_freeze_count() - frozen > 100
    assert snapshot not in gc.get_objects()
    alive = weakref.ref(snapshot)
    gc.disable()
    try:
        del snapshot
        assert alive() is None
    finally:
        gc.enable()
        gc.unfreeze()


def test_a_load_that_fails_leaves_the_collector_on():
    with pytest.raises(KeyError), collector_at_rest():
        raise KeyError
    assert gc.isenabled()
