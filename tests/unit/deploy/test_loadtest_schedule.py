from itertools import pairwise

import pytest

from loadtests.profiles import CONSTANT, PROFILES, SPIKE, STEPS
from loadtests.schedule import arrivals, shared, wanted


def times(phases=CONSTANT, rate=50.0, seconds=10.0, law="constant", seed=0) -> list[float]:
    return list(arrivals(phases, rate, seconds, law=law, seed=seed))


def test_constant_arrivals_are_even_and_end_with_the_run():
    found = times(rate=4.0, seconds=2.0)
    assert found == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


@pytest.mark.parametrize("law", ["constant", "poisson"])
def test_the_rate_moves_with_the_phases(law: str):
    found = times(SPIKE, rate=400.0, seconds=50.0, law=law)
    calm, spike, after = (
        sum(begin <= due < end for due in found) / (end - begin) for begin, end in ((0, 20), (20, 30), (30, 50))
    )
    assert calm == pytest.approx(100.0, rel=0.1)
    assert spike == pytest.approx(400.0, rel=0.1)
    assert after == pytest.approx(100.0, rel=0.1)


def test_poisson_gaps_are_as_long_as_their_standard_deviation():
    found = times(rate=200.0, seconds=60.0, law="poisson")
    gaps = [later - earlier for earlier, later in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 200, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)


def test_a_seed_gives_the_same_times_again_and_another_seed_others():
    assert times(law="poisson", seed=3) == times(law="poisson", seed=3)
    assert times(law="poisson", seed=3) != times(law="poisson", seed=4)


def test_processes_share_the_stream_without_gaps_or_doubles():
    shares = [list(shared(iter(times(STEPS, law="poisson")), index, 3)) for index in range(3)]
    assert sorted(number for share in shares for number, _ in share) == list(range(len(times(STEPS, law="poisson"))))
    assert sorted(due for share in shares for _, due in share) == times(STEPS, law="poisson")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_as_many_are_wanted_as_come(profile):
    found = times(profile.phases, rate=100.0, seconds=20.0)
    for seconds in (0.0, 5.0, 13.0, 20.0, 30.0):
        assert sum(due < seconds for due in found) == pytest.approx(
            wanted(profile.phases, 100.0, 20.0, seconds), abs=1.01
        )
