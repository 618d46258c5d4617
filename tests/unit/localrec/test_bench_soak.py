import numpy as np

from localrec.bench.soak import Expected, Tally, _early_and_late, _failures, _verdict
from models.contract.fusion import FusionMethod
from models.contract.selection import FusionSettings, Voter, fuse_voters
from models.contract.types import Membership, RankedList, item_numbers

N_ITEMS, N_VOTERS, CANDIDATES, N = 2_000, 9, 100, 10
FUSION = FusionSettings(FusionMethod.RRF, 10.0, CANDIDATES)
NOTHING = item_numbers([])


def voters(rng: np.random.Generator) -> list[Voter]:
    scores = -np.arange(CANDIDATES, dtype=np.float32)
    lists = [item_numbers(rng.choice(N_ITEMS, CANDIDATES, replace=False)) for _ in range(N_VOTERS)]
    return [Voter(Membership(n, 1.0), RankedList(items, scores), f"c{n:02d}") for n, items in enumerate(lists)]


def ranks(voter: Voter) -> dict[str, int]:
    return {f"i{item}": rank for rank, item in enumerate(voter.ranking.items.tolist(), start=1)}


def served(voted: list[Voter]) -> list[str]:
    return [f"i{item}" for item in fuse_voters(voted, NOTHING, FUSION).items[:N].tolist()]


def answer(voted: list[Voter], degraded: bool = False) -> dict[str, object]:
    """As the gateway explains it."""
    ranked = {n: ranks(voter) for n, voter in enumerate(voted)}
    items = [
        {"item_id": i, "explanation": [{"community": n, "rank": r[i]} for n, r in ranked.items() if i in r]}
        for i in served(voted)
    ]
    return {"items": items, "degraded": degraded}


def expected(voted: list[Voter]) -> Expected:
    return Expected(served(voted), {voter.name: ranks(voter) for voter in voted})


def test_the_expected_answer_is_right_and_a_degraded_one_says_nothing():
    voted = voters(np.random.default_rng(0))
    assert _verdict(answer(voted), expected(voted)) == "right"
    assert _verdict(answer(voted, degraded=True), expected(voted)) == "degraded"


def test_near_equal_scores_may_change_places():
    voted = voters(np.random.default_rng(0))
    items = voted[3].ranking.items.copy()
    items[[4, 5]] = items[[5, 4]]
    exchanged = [*voted]
    exchanged[3] = Voter(voted[3].membership, RankedList(items, voted[3].ranking.scores), "c03")
    assert _verdict(answer(exchanged), expected(voted)) == "right"


def test_one_adapter_that_answers_for_another_shows():
    """Whichever of nine it is, for whatever user: its list brings items of its own, or lacks what it should bring."""
    rng = np.random.default_rng(1)
    found = 0
    for trial in range(100):
        voted = voters(rng)
        at = trial % N_VOTERS
        swapped = [*voted]
        swapped[at] = Voter(voted[at].membership, voters(rng)[0].ranking, voted[at].name)
        found += _verdict(answer(swapped), expected(voted)) == "wrong"
    assert found >= 95


def test_a_community_that_did_not_answer_shows():
    voted = voters(np.random.default_rng(2))
    assert _verdict(answer(voted[:-1]), expected(voted)) == "wrong"


def test_switches_are_counted_where_answers_change_their_bundle():
    tally = Tally()
    for bundle_id in ("a", "a", "b", "b", "a"):
        tally.served(bundle_id)
    assert tally.switches == 2


def test_what_must_not_happen_is_said():
    fine = {f"{name}_memory_mib_{when}": 100.0 for name in ("worker", "gateway") for when in ("early", "late")}
    tally = Tally(swaps=3, switches=3)
    tally.outcomes.update(right=990, refused=50, degraded=9)
    assert _failures(tally, fine) == []
    assert "grew" in _failures(tally, fine | {"worker_memory_mib_late": 120.0})[0]
    tally.outcomes.update(wrong=1, degraded=10)
    tally.switches = 1
    assert [failure.split()[0] for failure in _failures(tally, fine)] == ["1", "19", "the"]


def test_memory_is_compared_once_all_is_loaded():
    assert _early_and_late([10, 90, 100, 100, 100, 100, 130, 130]) == {"early": 100, "late": 130}
    assert _early_and_late([5]) == {"early": 5, "late": 5}
