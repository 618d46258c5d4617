import random
from collections import Counter

import pytest

from loadtests.sampling import ZipfSampler

USERS = ["a", "b", "c", "d"]


def draw(n: int, *, exponent: float, seed: int = 0) -> list[str]:
    sampler, rng = ZipfSampler(USERS, exponent), random.Random(seed)  # noqa: S311 - a load pattern
    return [sampler.draw(rng) for _ in range(n)]


def test_users_are_drawn_in_proportion_to_one_over_their_rank() -> None:
    counts = Counter(draw(20_000, exponent=1.0))
    total = 1 + 1 / 2 + 1 / 3 + 1 / 4
    for rank, user in enumerate(USERS, start=1):
        assert counts[user] / 20_000 == pytest.approx(1 / rank / total, abs=0.01)


def test_exponent_zero_draws_evenly() -> None:
    counts = Counter(draw(20_000, exponent=0.0))
    for user in USERS:
        assert counts[user] / 20_000 == pytest.approx(0.25, abs=0.01)


def test_a_seed_gives_the_same_users_again_and_another_seed_others() -> None:
    assert draw(50, exponent=1.0, seed=3) == draw(50, exponent=1.0, seed=3)
    assert draw(50, exponent=1.0, seed=3) != draw(50, exponent=1.0, seed=4)


@pytest.mark.parametrize(("users", "exponent"), [([], 1.0), (USERS, -0.1)])
def test_sampler_refuses_unusable_values(users: list[str], exponent: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        ZipfSampler(users, exponent)
