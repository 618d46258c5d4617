import pytest

from localrec.bench.soak import Tally, _early_and_late, _verdict

EXPECTED = [f"i{n}" for n in range(10)]


def answer(ids: list[str], degraded: bool = False) -> dict[str, object]:
    return {"items": [{"item_id": item_id} for item_id in ids], "degraded": degraded}


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (answer(EXPECTED), "right"),
        (answer([*EXPECTED[:8], "i98", "i99"]), "right"),
        (answer([*EXPECTED[:7], "i97", "i98", "i99"]), "wrong"),
        (answer([f"i{n}" for n in range(50, 60)]), "wrong"),
        (answer([], degraded=True), "degraded"),
    ],
)
def test_a_list_is_right_but_for_near_equal_scores(given: dict[str, object], verdict: str):
    assert _verdict(given, EXPECTED) == verdict


def test_switches_are_counted_where_answers_change_their_bundle():
    tally = Tally()
    for bundle_id in ("a", "a", "b", "b", "a"):
        tally.served(bundle_id)
    assert tally.switches == 2


def test_memory_is_compared_once_all_is_loaded():
    assert _early_and_late([10, 90, 100, 100, 100, 100, 130, 130]) == {"early": 100, "late": 130}
    assert _early_and_late([5]) == {"early": 5, "late": 5}
