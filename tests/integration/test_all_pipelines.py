"""The experiment of deploy/ that splits users over all pipelines, under load."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bundles import users_of
from support.gateway import RunningGateway
from support.served_parts import N_ITEMS, PIPELINES, pools_of
from support.stub_worker import StubProcess, stub_process

from localrec.bench.load import load
from models.contract.bundle import Bundle
from models.contract.specs import Part

FILE = Path(__file__).parents[2] / "deploy" / "experiments-all.toml"
KINDS = ("local", "collm", "hatllm", "ulmrec", "l2rec", "cf", "popular")
SAMPLE = re.compile(r"localrec_request_seconds_(count|sum)\{(.+)\} (\S+)")


@pytest.fixture(scope="module")
def local_worker(whole: Bundle) -> Iterator[StubProcess]:
    with stub_process(whole.base_id, N_ITEMS) as stub:
        yield stub


@pytest.fixture
def gateway(serve: Any, workers: dict[Part, StubProcess], local_worker: StubProcess) -> Iterator[RunningGateway]:
    pools = pools_of({"local": local_worker, **workers})
    pipelines = PIPELINES | {"local": {"kind": "local", "pool": "local"}, "popular": {"kind": "popular"}}
    with serve("cf", pools=pools, pipelines=pipelines, experiments_file=FILE) as running:
        yield running


def samples(gateway: RunningGateway) -> dict[str, dict[str, float]]:
    """Requests and their seconds, by variant, of those that were answered."""
    found: dict[str, dict[str, float]] = {}
    for line in gateway.get("/metrics").body.decode().splitlines():
        if match := SAMPLE.fullmatch(line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            if labels["variant"]:
                assert labels["variant"] == f"models:{labels['pipeline']}"
                found.setdefault(labels["pipeline"], Counter())[match[1]] += float(match[3])
    return found


def test_each_user_gets_the_list_of_one_model(gateway: RunningGateway, whole: Bundle):
    bodies = {user_id: gateway.recommend(user_id) for user_id in users_of(whole).ids}
    for body in bodies.values():
        [source] = {item["source"] for item in body["items"]}
        assert source == body["pipeline"] or (source, body["pipeline"]) == ("cf", "local")  # of no community
        assert (body["experiments"], body["degraded"]) == ({"models": body["pipeline"]}, False)
    assert {body["pipeline"] for body in bodies.values()} == set(KINDS)


def test_all_are_asked_at_once_and_timed_apart(gateway: RunningGateway, whole: Bundle):
    bodies = [json.dumps({"user_id": user_id}).encode() for user_id in users_of(whole).ids]
    result = load(gateway.port, "/recommend", bodies, connections=16, seconds=3.0)
    assert (result.failures, result.refused) == (0, 0)
    by_variant = samples(gateway)
    assert set(by_variant) == set(KINDS)
    assert sum(each["count"] for each in by_variant.values()) == result.sent
    for name, each in by_variant.items():
        assert each["count"] > 0
        assert 0 < each["sum"] / each["count"] < 2.0, name
    assert gateway.metric("localrec_degraded_total") == 0
