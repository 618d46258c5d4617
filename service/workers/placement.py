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

    Within a group each adapter gets one home as long as there is room, then slots that are left are filled with further
    copies. So where all adapters fit on one replica, every replica holds all.

    Args:
        groups: adapters' names, all different; an earlier group takes what it can before a later one gets anything.
        replicas: names of the replicas.
        slots: adapters that one replica holds.
    """
    placed: dict[str, dict[str, None]] = {replica: {} for replica in sorted(replicas)}
    for adapters in groups:
        for adapter in adapters:
            _add_home(adapter, placed, slots)
        for replica, held in placed.items():
            _add_copies(replica, held, adapters, slots)
    return {replica: tuple(held) for replica, held in placed.items()}


def _add_home(adapter: str, placed: Mapping[str, dict[str, None]], slots: int) -> None:
    """Where it likes best among those that have room."""
    home = next((replica for replica in preference(adapter, placed) if len(placed[replica]) < slots), None)
    if home is not None:
        placed[home][adapter] = None


def _add_copies(replica: str, held: dict[str, None], adapters: Sequence[str], slots: int) -> None:
    """Each replica by itself, those that like it best: what others hold has no say, so it is not moved by theirs."""
    others = (adapter for adapter in adapters if adapter not in held)
    copies = sorted(others, key=lambda adapter: _weight(adapter, replica), reverse=True)
    held.update(dict.fromkeys(copies[: slots - len(held)]))


def _weight(key: str, replica: str) -> bytes:
    return hashlib.blake2b(f"{key}@{replica}".encode(), digest_size=8).digest()
