"""Which adapters lie on which replica: rendezvous hashing with a bound for each replica. Pure.

Every replica has an order of preference of its own in each adapter's eyes, by a hash of both names. Nothing is
coordinated: all gateways of one configuration place alike, and a replica that leaves moves little but what it held.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def preference(key: str, replicas: Iterable[str]) -> list[str]:
    """The replicas in the order in which a key (an adapter's name, say) prefers them."""
    return sorted(replicas, key=lambda replica: _weight(key, replica), reverse=True)


def place(groups: Sequence[Sequence[str]], replicas: Sequence[str], slots: int) -> dict[str, tuple[str, ...]]:
    """Adapters by replica, at most ``slots`` on each, the first groups' first.

    Within a group each adapter gets one home as long as there is room, then a second one, and so on. So where all of
    them fit on one replica, every replica holds all.

    Args:
        groups: adapters' names, all different; an earlier group takes what it can before a later one gets anything.
        replicas: names of the replicas.
        slots: adapters that one replica holds.
    """
    placed: dict[str, dict[str, None]] = {replica: {} for replica in replicas}
    for adapters in groups:
        orders = {adapter: preference(adapter, replicas) for adapter in adapters}
        while sum(_add_home(adapter, order, placed, slots) for adapter, order in orders.items()):
            pass  # one more home each
    return {replica: tuple(held) for replica, held in placed.items()}


def _add_home(adapter: str, order: Sequence[str], placed: Mapping[str, dict[str, None]], slots: int) -> bool:
    for replica in order:
        held = placed[replica]
        if len(held) < slots and adapter not in held:
            held[adapter] = None
            return True
    return False


def _weight(key: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{key}@{replica}".encode(), digest_size=8).digest()
