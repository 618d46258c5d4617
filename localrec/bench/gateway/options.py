"""What ``localrec bench gateway`` measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GatewayBenchOptions:
    """What is measured.

    Args:
        n_items: catalogue size.
        n_users: users, drawn with ``seed``, asked for in turn.
        communities: of the bundle; half of them hold a user on average.
        voters: communities that a `local` request asks; only users of at least so many are asked for.
        connections: of a closed-loop load, each with one request in flight.
        open_connections: of an open-loop load, at most: more than are answered within a deadline.
        seconds: length of one round.
        rounds: rounds of reference, `cf` path and cached path in turn; the first is for warming up.
        cached_users: users that the cached path is asked for, again and again.
        worker_seconds: what the stub worker takes for a call; ten times as much in the slow community.
        deadline_ms: of requests, but for those whose length is measured.
        seed: of bundle and users.
    """

    n_items: int = 1_682
    n_users: int = 500
    communities: int = 18
    voters: int = 9
    connections: int = 32
    open_connections: int = 512
    seconds: float = 2.0
    rounds: int = 5
    cached_users: int = 50
    worker_seconds: float = 0.02
    deadline_ms: int = 100
    seed: int = 0
