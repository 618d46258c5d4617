"""What a run is: everything that its processes must agree on."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from loadtests.profiles import PROFILES, Profile
from loadtests.schedule import Law, arrivals
from loadtests.traffic import Bodies, Traffic


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a run may show and still pass.

    Args:
        max_error_share: failed requests, of all.
        max_p99_ms: of the time from when a request was due until it was answered.
        max_degraded_share: answers in which something is missing, of all requests.
        max_late_share: requests answered after their deadline, or never, of all.
        min_achieved_share: requests answered while the run lasted, of those that were due.
        max_p99_gap: difference of the client's 99th percentile and the service's own, as a share of the larger one;
            None: it is shown and fails nothing.
    """

    max_error_share: float = 0.001
    max_p99_ms: float = 200.0
    max_degraded_share: float = 0.05
    max_late_share: float = 0.01
    min_achieved_share: float = 0.98
    max_p99_gap: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of a profile.

    Args:
        profile: name of the kind of traffic.
        host: base URL of the service.
        rate: requests per second where a phase's level is 1.
        duration_seconds: how long requests are due.
        law: ``poisson`` or ``constant``.
        bodies: what the requests share.
        deadline_ms: after it an answer is late.
        timeout_seconds: after it there is none.
        connections: requests in flight of one process, at most; more wait, and their latency counts.
        out: directory of the reports.
        thresholds: what makes the run fail.
        user_ids: the most active first.
        item_ids: those that strangers bring and events name.
    """

    profile: str
    host: str
    rate: float
    duration_seconds: float
    bodies: Bodies
    out: str
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...] = ()
    law: Law = "poisson"
    deadline_ms: float = 200.0
    timeout_seconds: float = 10.0
    connections: int = 800  # select() knows no more than 1,024 files
    thresholds: Thresholds = Thresholds()

    @property
    def traffic_profile(self) -> Profile:
        """The kind of traffic."""
        return PROFILES[self.profile]

    @property
    def traffic(self) -> Traffic:
        """The requests."""
        return Traffic(self.traffic_profile, self.bodies, self.user_ids, self.item_ids)

    def times(self) -> Iterator[float]:
        """When requests are due, in seconds since the start."""
        phases = self.traffic_profile.phases
        return arrivals(phases, self.rate, self.duration_seconds, law=self.law, seed=self.bodies.seed)

    def to_json(self) -> str:
        """The same as text."""
        return msgspec.json.encode(self).decode()


def plan_of(text: str | bytes) -> Plan:
    """The plan in :meth:`Plan.to_json`'s text. Raises ValueError where it is none."""
    return msgspec.json.decode(text, type=Plan)
