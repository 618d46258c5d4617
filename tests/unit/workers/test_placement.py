"""Where adapters lie: bounded, the same everywhere, and hardly moved by a replica that leaves."""

from itertools import chain

import pytest

from service.workers.placement import place, preference


def adapters(n: int, bundle: str = "b-1") -> list[str]:
    return [f"{bundle}-c{number:02d}" for number in range(n)]


def replicas(n: int) -> list[str]:
    return [f"http://worker-{number}:8001" for number in range(n)]


def homes(placed: dict[str, tuple[str, ...]]) -> set[str]:
    return set(chain(*placed.values()))


def test_what_fits_on_one_replica_is_on_every_one() -> None:
    placed = place([adapters(20)], replicas(3), 32)
    assert all(sorted(held) == adapters(20) for held in placed.values())


@pytest.mark.parametrize(("n_adapters", "n_replicas", "slots"), [(24, 3, 8), (24, 3, 12), (40, 5, 10), (7, 2, 4)])
def test_each_has_a_home_and_no_replica_too_many(n_adapters: int, n_replicas: int, slots: int) -> None:
    placed = place([adapters(n_adapters)], replicas(n_replicas), slots)
    assert homes(placed) == set(adapters(n_adapters))
    assert all(len(set(held)) == len(held) <= slots for held in placed.values())


def test_slots_that_are_left_hold_second_copies() -> None:
    placed = place([adapters(24)], replicas(3), 12)
    assert sum(map(len, placed.values())) == 36


def test_without_room_for_all_every_slot_is_used() -> None:
    placed = place([adapters(40)], replicas(2), 10)
    assert [len(held) for held in placed.values()] == [10, 10]
    assert len(homes(placed)) == 20


def test_order_of_the_replicas_does_not_matter() -> None:
    assert place([adapters(24)], replicas(3), 10) == place([adapters(24)], replicas(3)[::-1], 10)


def test_earlier_bundle_takes_what_it_can_first() -> None:
    old, new = adapters(20), adapters(20, "b-2")
    (held,) = place([old, new], replicas(1), 32).values()
    assert list(held) == old + new[:12]
    assert set(place([adapters(40), new], replicas(1), 32)["http://worker-0:8001"]) == set(adapters(32))


@pytest.mark.parametrize("gone", replicas(5))
def test_replica_that_leaves_moves_little_but_what_it_alone_held(gone: str) -> None:
    left = [url for url in replicas(5) if url != gone]
    before, after = place([adapters(40)], replicas(5), 12), place([adapters(40)], left, 12)
    orphans = set(before[gone]) - set(chain(*(before[url] for url in left)))
    loads = sum(len(set(after[url]) - set(before[url])) for url in left)
    assert homes(after) == set(adapters(40))
    assert len(orphans) <= loads <= len(orphans) + 5


def test_nobody_to_place_on() -> None:
    assert place([adapters(3)], [], 8) == {}
    assert place([], replicas(1), 8) == {"http://worker-0:8001": ()}


def test_preference_keeps_its_order_when_one_leaves_and_differs_between_keys() -> None:
    order = preference("b-1-c00", replicas(6))
    assert preference("b-1-c00", [url for url in replicas(6) if url != order[2]]) == order[:2] + order[3:]
    assert len({preference(name, replicas(6))[0] for name in adapters(40)}) == 6
