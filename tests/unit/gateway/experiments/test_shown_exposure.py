"""What is recorded of a list: each field, and ranks as the explanation gives them."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.bundles import make_bundle
from support.experiment_files import experiment, experiments_of, layer

from models.contract.records import Exposure
from models.contract.selection import FusionSettings, Selection, Voter, ballots, fuse_ballots
from models.contract.types import Membership, RankedList, item_numbers
from service.gateway.bundles.snapshot import load_snapshot
from service.gateway.experiments.exposure import Record, ranks_of
from service.gateway.ranking.explain import votes
from service.gateway.types import Answer, Query, Reason

EXCLUDED = item_numbers([7])
FUSION = FusionSettings(candidates=4, others=(("cf", 1.0),))


def ranked(*items: int) -> RankedList:
    return RankedList(item_numbers(items), np.linspace(1, 0, len(items), dtype=np.float32))


VOTERS = [
    Voter(Membership(0, 0.9), ranked(7, 1, 2, 3, 4, 5), "c00"),
    Voter(Membership(1, 0.8), ranked(5, 1), "c01"),
    Voter(None, ranked(2, 9, 7), "cf"),
]


def test_ranks_are_among_what_may_be_shown():
    cast = ballots(VOTERS, EXCLUDED, FUSION)
    assert ranks_of(item_numbers([1, 2, 5, 8]), cast) == ((1, 2, 0), (2, 0, 1), (0, 1, 0), (0, 0, 0))
    assert ranks_of(item_numbers([1]), []) == ()
    assert ranks_of(item_numbers([]), cast) == ()


def test_ranks_are_those_of_the_explanation():
    cast = ballots(VOTERS, EXCLUDED, FUSION)
    items = fuse_ballots(cast, FUSION).items
    explained = votes(items, cast, FUSION)
    for item, ranks in zip(items.tolist(), ranks_of(items, cast), strict=True):
        named = {voter.name: rank for voter, rank in zip(VOTERS, ranks, strict=True) if rank}
        assert named == {vote.voter.name: vote.rank for vote in explained[item]}


@pytest.mark.parametrize("shadow", ["", "beside"])
def test_every_field_is_recorded(tmp_path: Path, shadow: str):
    snapshot = load_snapshot(make_bundle(tmp_path).directory)
    assignment = experiments_of(layer("l", experiment("e", allowlist={"alice": "b"}))).assign("alice", 0.0)
    selection = Selection(item_numbers([2, 8]), np.ones(2, np.float32), ("local", "popular"))
    reasons = (Reason("worker_timeout", "c02", degrades=True),)
    answer = Answer(selection, {}, reasons, 3, 2, ballots=tuple(ballots(VOTERS, EXCLUDED, FUSION)))
    query = Query("alice", context={"page": "home", "mobile": True})
    record = Record(query, answer, assignment, snapshot, shadow)
    shown = record.shown("r1", query.context, 1_700_000_000_123, 4.56789, cached=True)
    expected = Exposure(
        request_id="r1",
        user_id="alice",
        timestamp_ms=1_700_000_000_123,
        bundle_id=snapshot.id,
        pipeline="local",
        experiments={"e": "b"},
        items=("i2", "i8"),
        sources=("local", "popular"),
        forced=True,
        shadow=shadow,
        voters=("c00", "c01", "cf"),
        ranks=((2, 0, 1), (0, 0, 0)),
        degraded=True,
        cached=True,
        latency_ms=4.568,
        context={"page": "home", "mobile": True},
    )
    assert shown == expected
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Exposure) == expected
    again = record.shown("r2", {}, 1_700_000_000_456, 0.5)
    changed = {"request_id": "r2", "context": {}, "timestamp_ms": 1_700_000_000_456, "latency_ms": 0.5, "cached": False}
    assert again == msgspec.structs.replace(expected, **changed)
