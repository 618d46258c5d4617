from localrec.bench.soak import Tally, _early_and_late, _failures


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
