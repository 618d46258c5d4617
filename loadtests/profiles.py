"""The kinds of traffic: how the rate moves, what is asked, and what a run may show at most and still pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loadtests.schedule import Phase

Kind = Literal["recommend", "stranger", "event", "check", "batch"]
CONSTANT = (Phase(1.0, 1.0),)
STEPS = tuple(Phase(0.2, level) for level in (0.2, 0.4, 0.6, 0.8, 1.0))
SPIKE = (Phase(0.4, 0.25), Phase(0.2, 1.0), Phase(0.4, 0.25))
BATCH_REQUESTS = 20  # of a POST /recommend/batch
BATCH_DEADLINE_FACTOR = 4.0  # the gateway's default: a batch has so many times the deadline of one request


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of traffic.

    Args:
        words: what it is for.
        phases: how the rate moves over the run.
        mix: shares of what is asked: ``recommend`` for a known user, ``stranger`` for an unknown one who brings a
            history, ``event``, ``check`` that what an event says is in the next list, ``batch``.
        rate: requests per second where the caller names none.
        duration_seconds: where the caller names none.
        use_cache: whether an answer of a moment ago will do.
        everybody: users come one after the other in a random order, everyone once before anyone comes again, instead of
            by Zipf's law.
        deadline_factor: how much longer than a request's the deadline is.
    """

    words: str
    phases: tuple[Phase, ...] = CONSTANT
    mix: Mapping[Kind, float] | None = None
    rate: float = 50.0
    duration_seconds: float = 60.0
    use_cache: bool = True
    everybody: bool = False
    deadline_factor: float = 1.0

    @property
    def kinds(self) -> Mapping[Kind, float]:
        """What is asked, with shares; by default, lists for known users."""
        return self.mix or {"recommend": 1.0}


PROFILES: Mapping[str, Profile] = {
    "steady": Profile("one rate, users by Zipf's law"),
    "step": Profile("the rate climbs in five steps", phases=STEPS),
    "spike": Profile("a quarter of the rate, all of it for a fifth of the time, a quarter again", phases=SPIKE),
    "soak": Profile("a low rate for long: leaks, drifts", rate=20.0, duration_seconds=1_800.0),
    "cold-cache": Profile("no list is cached, every user comes once", use_cache=False, everybody=True),
    "new-users": Profile("users whom nobody knows, who bring a history", mix={"stranger": 1.0}),
    "events": Profile(
        "events among requests; what an event says is in the next list, checked on a sample",
        mix={"recommend": 0.6, "event": 0.35, "check": 0.05},
    ),
    "batch": Profile(
        f"batches of {BATCH_REQUESTS} requests",
        mix={"batch": 1.0},
        rate=2.0,
        deadline_factor=BATCH_DEADLINE_FACTOR,
    ),
}
