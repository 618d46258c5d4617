"""What an arrangement is said to have done to each item."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.contract.types import item_numbers
from service.gateway.explanation import Move
from service.gateway.ranking.arrange import Arrangement, Kind, Traits, arrange
from service.gateway.ranking.course import Arranged
from service.gateway.ranking.moves import Moves, moves

ALIKE = np.float32([[1, 0]] * 3 + [[0, 1]] * 2)
BRANDS: list[tuple[Kind, ...]] = [(("brand", brand),) for brand in "aabbc"]


def moved(wanted: Arrangement, n: int, shown: tuple[int, ...] = (0,) * 5) -> Moves:
    traits = Traits(ALIKE, BRANDS, item_numbers(shown))
    return moves(Arranged(wanted, traits, arrange(wanted, traits, n)), n)


def test_nothing_is_said_of_what_stayed():
    assert moved(Arrangement(), 3) == Moves({}, 0)


def test_caps_lift_those_behind_the_capped():
    found = moved(Arrangement(max_per={"brand": 1}), 3)
    assert found == Moves({2: Move(3, ("cap",)), 4: Move(5, ("cap",))}, 1)


def test_rotation_sinks_what_was_shown_and_lifts_the_rest():
    found = moved(Arrangement(discount=0.3), 3, shown=(1, 0, 0, 0, 0))
    assert found.served == {1: Move(2, ("rotation",)), 0: Move(1, ("rotation",))}
    assert found.capped == 0


def test_diversity_lifts_the_unlike():
    assert moved(Arrangement(diversity=0.5), 2).served == {3: Move(4, ("diversity",))}


def test_each_step_that_changed_the_rank_is_named_in_its_order():
    found = moved(Arrangement(0.5, {"brand": 1}, 0.9), 3, shown=(1, 0, 0, 0, 0))
    assert {position: move.by for position, move in found.served.items()} == {
        1: ("rotation",),
        3: ("rotation", "diversity"),
        4: ("rotation", "cap"),
    }


@given(st.integers(0, 999), st.floats(0, 1), st.floats(0, 1), st.integers(1, 3), st.integers(1, 25))
def test_an_item_has_a_move_if_its_rank_is_another(seed, diversity, discount, cap, n):
    rng = np.random.default_rng(seed)
    kinds = [(("brand", str(brand)),) for brand in rng.integers(0, 4, 20)]
    traits = Traits(rng.standard_normal((20, 3), dtype=np.float32), kinds, item_numbers(rng.integers(0, 3, 20)))
    wanted = Arrangement(diversity, {"brand": cap}, discount)
    positions = arrange(wanted, traits, n)

    found = moves(Arranged(wanted, traits, positions), n).served

    assert found.keys() == {at for rank, at in enumerate(positions) if rank != at}
    assert all(move.by and move.from_rank == at + 1 for at, move in found.items())
