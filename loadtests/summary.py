"""The figures of a run: out of its samples, and out of the service's own histograms."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtests.answers import DEGRADED, NO_ANSWER, OK
from loadtests.plan import Plan
from loadtests.samples import Column, Label, Table
from loadtests.schedule import wanted
from localrec.bench.scrape import Histogram, Scrape, between

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
INTERVALS = 60  # points of a chart, at most
HISTOGRAM = "localrec_request_seconds"
Percentiles = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one path, answered by one pipeline, in one variant. Empty: the answers do not say.

    Args:
        client_ms: percentiles from when requests were due.
        sent_ms: the same from when they were sent.
        server_ms: the same of what the answers say that they took the service.
        outside_ms: of what is between them: connection, transport, the client's own work.
    """

    route: str
    pipeline: str
    variant: str
    requests: int
    failed: int
    degraded: int
    client_ms: Percentiles
    sent_ms: Percentiles
    server_ms: Percentiles
    outside_ms: Percentiles


@dataclass(frozen=True, slots=True)
class Beside:
    """The service's histogram beside the client's of the same requests, in the same buckets.

    Args:
        client_ms, server_ms: percentiles, interpolated in the service's buckets; the client's from when it sent.
        p99_bucket_ms: between which bounds the service's 99th percentile lies: it cannot say more. None: no upper one.
        p99_gap: difference of both 99th percentiles, as a share of the larger one.
    """

    route: str
    pipeline: str
    variant: str | None
    client_requests: int
    server_requests: int
    client_ms: Percentiles
    server_ms: Percentiles
    p99_bucket_ms: tuple[float, float | None]
    p99_gap: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A part of the run, ``seconds`` long from ``start_seconds``; rates are per second."""

    start_seconds: float
    seconds: float
    wanted_rate: float
    sent_rate: float
    answered_rate: float
    failed_rate: float
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Args:
        requests: exchanges, those that a check adds included.
        wanted: requests that were due.
        answered_in_time: those of them that were answered while the run lasted.
        late: answered after the deadline, or never.
        outcomes: by what came of them; reasons: by the reasons that answers gave.
        client_ms: percentiles from when requests were due.
        send_late_ms: how late requests were sent: what the client itself, or its connections, cost.
    """

    requests: int
    wanted: int
    answered_in_time: int
    failed: int
    degraded: int
    late: int
    outcomes: Mapping[str, int]
    reasons: Mapping[str, int]
    client_ms: Percentiles
    send_late_ms: Percentiles
    groups: tuple[Group, ...]
    beside: tuple[Beside, ...]
    intervals: tuple[Interval, ...]

    def share(self, count: int) -> float:
        """Of all requests."""
        return count / self.requests if self.requests else 0.0

    @property
    def achieved_share(self) -> float:
        """Requests answered while the run lasted, of those that were due."""
        return self.answered_in_time / self.wanted if self.wanted else 0.0

    @property
    def p99_gap(self) -> float | None:
        """The gap of the lists of most requests; None where the service's histograms do not say."""
        return max(self.beside, key=lambda row: row.client_requests).p99_gap if self.beside else None


def summarize(plan: Plan, table: Table, wanted_count: int, before: Scrape, after: Scrape) -> Summary:
    """The figures of a run.

    Args:
        plan: what was to be done.
        table: what came of it.
        wanted_count: requests that were due.
        before, after: the service's metrics at both ends of the run.
    """
    outcomes, reasons = _counts(table)
    answered = _rows(table, lambda label: label.outcome != NO_ANSWER)
    ended_ms = table.due_seconds * 1e3 + table.latency_ms
    in_time = answered & _planned(table) & (ended_ms <= plan.duration_seconds * 1e3 + plan.deadline_ms)
    return Summary(
        requests=len(table),
        wanted=wanted_count,
        answered_in_time=int(in_time.sum()),
        failed=len(table) - outcomes[OK] - outcomes[DEGRADED],
        degraded=outcomes[DEGRADED],
        late=int(((table.latency_ms > plan.deadline_ms) | ~answered).sum()),
        outcomes=dict(outcomes.most_common()),
        reasons=dict(reasons.most_common()),
        client_ms=percentiles(table.latency_ms),
        send_late_ms=percentiles(table.late_ms),
        groups=tuple(_group(table, *key) for key in sorted({label[:3] for label in table.labels})),
        beside=tuple(_beside(table, before, after)),
        intervals=tuple(_intervals(plan, table)),
    )


def percentiles(values: Column) -> Percentiles:
    """Percentiles by name, without NaNs; None where nothing is left."""
    values = values[~np.isnan(values)]
    return {name: round(float(np.percentile(values, q)), 3) if len(values) else None for name, q in PERCENTILES.items()}


def _counts(table: Table) -> tuple[Counter[str], Counter[str]]:
    """Samples by outcome, and by reason."""
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    counts = np.bincount(table.label_of_row, minlength=len(table.labels)).tolist()
    for label, count in zip(table.labels, counts, strict=True):
        outcomes[label.outcome] += count
        for reason in set(label.reasons):
            reasons[reason] += count
    return outcomes, reasons


def _rows(table: Table, chosen: Callable[[Label], bool]) -> NDArray[np.bool_]:
    """(n_samples,) whether the label of each is chosen."""
    return np.array([chosen(label) for label in table.labels], dtype=bool)[table.label_of_row]


def _planned(table: Table) -> NDArray[np.bool_]:
    """(n_samples,) whether each was due, and does not follow from another one."""
    return ~np.isnan(table.late_ms)


def _sent_ms(table: Table) -> Column:
    """(n_samples,) from when each was sent."""
    return table.latency_ms - np.nan_to_num(table.late_ms)


def _group(table: Table, route: str, pipeline: str, variant: str) -> Group:
    rows = _rows(table, lambda label: label[:3] == (route, pipeline, variant))
    failed = _rows(table, lambda label: label.outcome not in {OK, DEGRADED})
    degraded = _rows(table, lambda label: label.outcome == DEGRADED)
    sent, server = _sent_ms(table)[rows], table.server_ms[rows]
    return Group(
        route=route,
        pipeline=pipeline,
        variant=variant,
        requests=int(rows.sum()),
        failed=int((rows & failed).sum()),
        degraded=int((rows & degraded).sum()),
        client_ms=percentiles(table.latency_ms[rows]),
        sent_ms=percentiles(sent),
        server_ms=percentiles(server),
        outside_ms=percentiles(sent - server),
    )


def _beside(table: Table, before: Scrape, after: Scrape) -> Iterator[Beside]:
    """By path and pipeline; and by variant, where client and service have the same name for it."""
    for (route, pipeline), histogram in between(before, after, HISTOGRAM, ("route", "pipeline")).items():
        rows = _rows(table, lambda label, key=(route, pipeline): label[:2] == key)  # type: ignore[misc]
        yield from _compared(table, rows, histogram, (route, pipeline, None))
    for (route, pipeline, variant), histogram in between(
        before, after, HISTOGRAM, ("route", "pipeline", "variant")
    ).items():
        if variant:
            rows = _rows(table, lambda label, key=(route, pipeline, variant): label[:3] == key)  # type: ignore[misc]
            yield from _compared(table, rows, histogram, (route, pipeline, variant))


def _compared(
    table: Table, rows: NDArray[np.bool_], server: Histogram, names: tuple[str, str, str | None]
) -> Iterator[Beside]:
    if not rows.any():
        return
    client = Histogram.of(_sent_ms(table)[rows] / 1e3, server.bounds)
    low, high = server.bucket(99)
    ours, theirs = client.percentile(99), server.percentile(99)
    yield Beside(
        *names,
        client_requests=int(rows.sum()),
        server_requests=int(server.count),
        client_ms=_of_histogram(client),
        server_ms=_of_histogram(server),
        p99_bucket_ms=(low * 1e3, None if high == np.inf else high * 1e3),
        p99_gap=abs(ours - theirs) / max(ours, theirs),
    )


def _of_histogram(histogram: Histogram) -> Percentiles:
    return {name: round(histogram.percentile(q) * 1e3, 3) for name, q in PERCENTILES.items() if q < 100}


def _intervals(plan: Plan, table: Table) -> Iterator[Interval]:
    """The run in equal parts of whole seconds, by when requests were due; answers, by when they came."""
    length = max(1.0, np.ceil(plan.duration_seconds / INTERVALS))
    due, answered_at = table.due_seconds, table.due_seconds + table.latency_ms / 1e3
    failed = _rows(table, lambda label: label.outcome not in {OK, DEGRADED})
    phases = plan.traffic_profile.phases
    for start in np.arange(0.0, plan.duration_seconds, length).tolist():
        end = min(start + length, plan.duration_seconds)
        seconds = end - start
        here = (due >= start) & (due < end)
        latencies = percentiles(table.latency_ms[here])
        planned = [wanted(phases, plan.rate, plan.duration_seconds, at) for at in (start, end)]
        yield Interval(
            start_seconds=start,
            seconds=seconds,
            wanted_rate=(planned[1] - planned[0]) / seconds,
            sent_rate=int(here.sum()) / seconds,
            answered_rate=int(((answered_at >= start) & (answered_at < end) & ~failed).sum()) / seconds,
            failed_rate=int((here & failed).sum()) / seconds,
            p50_ms=latencies["p50"],
            p99_ms=latencies["p99"],
        )
