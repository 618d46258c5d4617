"""The record of a run, as JSON, and what the terminal shows of it."""

from dataclasses import asdict
from typing import Any

from loadtests.plan import Plan
from loadtests.summary import Beside, Group, Summary
from loadtests.verdict import Check, milliseconds, passed

SCHEMA = "localrec-loadtest-1"


def record(plan: Plan, summary: Summary, found: list[Check], provenance: dict[str, str]) -> dict[str, Any]:
    """Everything that is known of a run, for machines.

    ``provenance``: commit, hardware and time, as they were.
    """
    settings = asdict(plan) | {"user_ids": len(plan.user_ids), "item_ids": len(plan.item_ids)}
    return {
        "schema": SCHEMA,
        **provenance,
        "passed": passed(found),
        "plan": settings,
        "checks": [asdict(check) for check in found],
        "summary": {
            **asdict(summary),
            "error_share": summary.share(summary.failed),
            "degraded_share": summary.share(summary.degraded),
            "late_share": summary.share(summary.late),
            "achieved_share": summary.achieved_share,
            "p99_gap": summary.p99_gap,
        },
    }


def as_text(plan: Plan, summary: Summary) -> str:
    """The figures by pipeline and variant, and those of the service beside them."""
    lines = [
        f"{plan.profile}: {plan.rate:g} requests/s ({plan.law}) for {plan.duration_seconds:g} s at {plan.host}",
        f"{summary.requests} answers of {summary.wanted} requests that were due; sent late by the client itself: "
        f"p99 {milliseconds(summary.send_late_ms['p99'])}",
        "",
        f"{'ms':<34}{'n':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}",
        *(line for group in summary.groups for line in _lines_of(group)),
    ]
    if summary.beside:
        lines += ["", "p99 from sending, in the service's buckets: client, service, its bucket, gap"]
        lines += [_line_beside(row) for row in summary.beside]
    if summary.reasons:
        lines += ["", "reasons  " + ", ".join(f"{code} {count}" for code, count in summary.reasons.items())]
    failures = {code: count for code, count in summary.outcomes.items() if code not in {"ok", "degraded"}}
    if failures:
        lines += ["", "failures  " + ", ".join(f"{code} {count}" for code, count in failures.items())]
    return "\n".join(lines)


def name_of(row: Group | Beside) -> str:
    """Path, pipeline and variant, as far as they are known."""
    return " ".join(part for part in (row.route, row.pipeline, row.variant) if part)


def _lines_of(group: Group) -> list[str]:
    rows = {name_of(group): group.client_ms, "  from sending": group.sent_ms, "  service says": group.server_ms}
    return [
        f"{name:<34.34}{group.requests if at == 0 else '':>8}"
        + "".join(f"{'-' if ms[q] is None else f'{ms[q]:.1f}':>9}" for q in ("p50", "p90", "p99", "p99.9", "max"))
        for at, (name, ms) in enumerate(rows.items())
        if ms["p50"] is not None
    ]


def _line_beside(row: Beside) -> str:
    low, high = row.p99_bucket_ms
    requests = "" if row.client_requests == row.server_requests else f"  (service saw {row.server_requests} requests)"
    return (
        f"{name_of(row):<34.34}{row.client_ms['p99']:>9.1f}{row.server_ms['p99']:>9.1f}"
        f"   {low:g} to {'inf' if high is None else f'{high:g}'}{row.p99_gap:>9.1%}{requests}"
    )
