"""What became of the requests of each phase, and whether that is well. Pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

End = Literal["right", "degraded", "wrong", "shed", "mistake", "failed"]
ANSWERED: tuple[End, ...] = ("right", "degraded", "wrong")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request's end.

    Args:
        sent_at, ended_at: instants in seconds, of one clock.
        end: the list was right, degraded (and right for what was left) or wrong; the request was turned away with 503,
            or with 422 because it was a mistake; or it failed, which is everything else.
        reasons: codes that the answer gave.
        bundle_id: that the list came from.
        port: of the gateway that answered, 0 where none did.
        detail: what went wrong.
    """

    sent_at: float
    ended_at: float
    end: End
    reasons: tuple[str, ...] = ()
    bundle_id: str = ""
    port: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Phase:
    """A fault and the recovery after it.

    Args:
        name: what was done.
        began, ended, until: instants in seconds: of the fault's begin and end, and of the recovery's end.
        recovered_seconds: from the fault's end to the first answer that shows that it is over; NaN where none did.
    """

    name: str
    began: float
    ended: float
    until: float
    recovered_seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """What became of the requests that were sent in a phase."""

    phase: Phase
    ends: Mapping[str, int]
    reasons: Mapping[str, int]
    latencies_ms: tuple[float, ...]

    @property
    def answered(self) -> int:
        return sum(self.ends.get(end, 0) for end in ANSWERED)

    def metrics(self) -> dict[str, float]:
        """The row's figures by name."""
        counts = {end: float(self.ends.get(end, 0)) for end in ("degraded", "shed", "failed", "wrong")}
        percentiles = {f"p{q}_ms": _percentile(self.latencies_ms, q) for q in (50, 99)}
        sent = float(sum(self.ends.values()))
        known = {"sent": sent, "answered": float(self.answered), "mistakes": float(self.ends.get("mistake", 0))}
        return known | counts | percentiles | {"recovered_seconds": self.phase.recovered_seconds}


def row(phase: Phase, seen: Sequence[Seen]) -> Row:
    """The requests that were sent between a phase's begin and its end. Latencies are those of lists."""
    own = [each for each in seen if phase.began <= each.sent_at < phase.until]
    return Row(
        phase,
        Counter(each.end for each in own),
        Counter(reason for each in own for reason in each.reasons if each.end == "degraded"),
        tuple((each.ended_at - each.sent_at) * 1e3 for each in own if each.end in ANSWERED),
    )


def failures(rows: Sequence[Row]) -> list[str]:
    """What must not happen, and did."""
    found = []
    for each in rows:
        found += [f"{each.phase.name}: {each.ends[end]} {end}" for end in ("failed", "wrong") if each.ends.get(end)]
        if math.isnan(each.phase.recovered_seconds):
            found.append(f"{each.phase.name}: not recovered")
        if not each.answered:
            found.append(f"{each.phase.name}: nothing was answered")
    return found


HEAD = ("sent", "answered", "degraded", "shed", "mistakes", "failed", "wrong", "p50_ms", "p99_ms", "recovered_seconds")


def table(rows: Sequence[Row]) -> str:
    """The rows for people, the reasons of degraded answers behind them."""
    width = max(len(each.phase.name) for each in rows)
    lines = [" ".join([f"{'phase':<{width}}", *(f"{_short(name):>9}" for name in HEAD), " reasons"])]
    for each in rows:
        figures = each.metrics()
        reasons = ", ".join(f"{code} {n}" for code, n in sorted(each.reasons.items()))
        lines.append(
            " ".join([f"{each.phase.name:<{width}}", *(_cell(name, figures[name]) for name in HEAD), f" {reasons}"])
        )
    return "\n".join(lines)


def _short(name: str) -> str:
    return {"recovered_seconds": "over in s"}.get(name, name.replace("_", " "))


def _cell(name: str, value: float) -> str:
    return f"{value:9.2f}" if name.endswith(("_ms", "_seconds")) else f"{value:9.0f}"


def _percentile(values: Sequence[float], q: float) -> float:
    return float(np.percentile(values, q)) if values else math.nan
