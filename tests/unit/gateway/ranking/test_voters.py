"""From workers' answers to what is fused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.bundles import make_bundle

from models.contract.selection import FusionSettings
from models.contract.types import Membership, RankedList, item_numbers
from service.gateway.bundles.snapshot import Snapshot, load_snapshot
from service.gateway.ranking.fanout import voters
from service.gateway.ranking.plan import Call, Plan
from service.workers.completion import Completion
from service.workers.types import Outcome, OutcomeKind

COMPLETION = Completion(prompt=[200, 1], candidates=10, excluded=item_numbers([]), n_items=200)
CALLS = (Call(Membership(1, 0.9), "c01"), Call(Membership(0, 0.4), "c00"), Call(None, "global"))
PLAN = Plan("local", "b", COMPLETION, CALLS, FusionSettings())
RANKING = RankedList(item_numbers([7, 3, 150, 8]), np.float32([4, 3, 2, 1]))


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return load_snapshot(make_bundle(tmp_path).directory)


def items_of(snapshot: Snapshot, kinds: list[OutcomeKind]) -> dict[str, list[int]]:
    found = voters(PLAN, [Outcome(kind, RANKING) for kind in kinds], snapshot)
    return {voter.name: voter.ranking.items.tolist() for voter in found}


def test_all_that_answered_vote_with_all_items(snapshot: Snapshot) -> None:
    found = items_of(snapshot, [OutcomeKind.OK, OutcomeKind.TIMEOUT, OutcomeKind.OK])
    assert found == {"c01": [7, 3, 150, 8], "global": [7, 3, 150, 8]}


def test_a_community_votes_for_its_own_items_alone_and_the_global_adapter_for_all(snapshot: Snapshot) -> None:
    """User-and-item assignment, equation 4."""
    own = np.zeros((200, len(snapshot.anchors)), bool)
    own[[7, 8], 0] = own[[150], 1] = True
    found = items_of(replace(snapshot, items=own), [OutcomeKind.OK] * 3)
    assert found == {"c01": [150], "c00": [7, 8], "global": [7, 3, 150, 8]}
