"""What a load test says at its end: judge each response, sum up the run, compare it with thresholds."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of one response: why it failed (None where it did not), and whether the service called it degraded."""

    failure: str | None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a run. Latencies are over all requests, failed ones too; ``degraded`` counts good responses only."""

    requests: int
    failures: int
    degraded: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def error_share(self) -> float:
        """Failed requests, of all; 0 where there were none."""
        return self.failures / self.requests if self.requests else 0.0

    @property
    def degraded_share(self) -> float:
        """Degraded responses, of all requests; 0 where there were none."""
        return self.degraded / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a run may show at most and still pass."""

    max_error_share: float
    max_p99_ms: float


def judge(status: int, body: bytes | None, n: int) -> Verdict:
    """Judge a response to a request for ``n`` items: it fails unless its status is 200 and it brings ``n`` items."""
    if status != 200:
        return Verdict("no response" if status == 0 else f"status {status}")
    try:
        answer = json.loads(body or b"")
        n_items, degraded = len(answer["items"]), answer["degraded"]
    except (ValueError, TypeError, KeyError) as exc:
        return Verdict(f"not a recommendation: {type(exc).__name__}")
    if n_items < n:
        return Verdict(f"{n_items} of {n} items")
    return Verdict(None, degraded=degraded is True)


def breaches(summary: Summary, thresholds: Thresholds) -> list[str]:
    """The thresholds that the run does not hold, in words; a run without a request holds none."""
    if summary.requests == 0:
        return ["no request was made"]
    found = []
    if summary.error_share > thresholds.max_error_share:
        found.append(f"error share {summary.error_share:.4f} is above {thresholds.max_error_share:g}")
    if summary.p99_ms > thresholds.max_p99_ms:
        found.append(f"p99 {summary.p99_ms:.0f} ms is above {thresholds.max_p99_ms:g} ms")
    return found


def render(summary: Summary, broken: list[str]) -> str:
    """The summary as lines of text, the outcome last."""
    lines = [
        f"requests   {summary.requests} ({summary.requests_per_second:.1f} a second)",
        f"errors     {summary.failures} ({summary.error_share:.2%})",
        f"degraded   {summary.degraded} ({summary.degraded_share:.2%})",
        f"latency    p50 {summary.p50_ms:.0f} ms, p95 {summary.p95_ms:.0f} ms, p99 {summary.p99_ms:.0f} ms",
        *(f"broken     {breach}" for breach in broken),
        "FAILED" if broken else "passed",
    ]
    return "\n".join(lines)
