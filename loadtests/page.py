"""The report as one page that needs nothing else: tables, and charts as SVG."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from loadtests.plan import Plan
from loadtests.report import name_of
from loadtests.summary import PERCENTILES, Interval, Percentiles, Summary
from loadtests.verdict import Check, passed

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 220, 56, 28, 12
STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse}caption{text-align:left;color:#444;padding-bottom:.3rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.ok{color:#0a5c2b;font-weight:600}.fails{color:#a30d0d;font-weight:600}
svg{max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#333}
"""
SERIES = ("#0b57a4", "#8a4b00", "#a30d0d")
DASHES = ("", "6 3", "2 3")  # lines differ by more than colour

Series = tuple[str, Callable[[Interval], float | None]]
RATES: tuple[Series, ...] = (
    ("wanted", lambda interval: interval.wanted_rate),
    ("answered", lambda interval: interval.answered_rate),
    ("failed", lambda interval: interval.failed_rate),
)
LATENCIES: tuple[Series, ...] = (
    ("p50", lambda interval: interval.p50_ms),
    ("p99", lambda interval: interval.p99_ms),
)


def page(plan: Plan, summary: Summary, found: Sequence[Check], document: dict[str, Any]) -> str:
    """The page.

    Args:
        plan, summary, found: of the run.
        document: its record, for commit, hardware and time.
    """
    outcome = "passed" if passed(found) else "failed"
    title = f"Load test: {plan.profile}, {outcome}"
    about = (
        f"{plan.rate:g} requests per second ({plan.law} arrivals) for {plan.duration_seconds:g} s at {plan.host}, seed "
        f"{plan.bodies.seed}, {len(plan.user_ids)} users. {document['hardware']}, commit {document['commit']}, ended "
        f"{document['ended_at']}."
    )
    sections = [
        _section("Thresholds", _checks(found)),
        _section("Throughput", _chart("Requests per second over the run", "requests/s", summary.intervals, RATES)),
        _section("Latency", _chart("Latency over the run, from when due", "ms", summary.intervals, LATENCIES)),
        _section("Percentiles by path, pipeline and variant", _groups(summary)),
        _section("Client beside service", _beside(summary)),
        _section("Answers", _outcomes(summary)),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><main><h1>{escape(title)}</h1><p>{escape(about)}</p>\n{''.join(sections)}</main></body></html>\n"
    )


def _section(heading: str, content: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{content}</section>\n"


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already, headings are text."""
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _checks(found: Sequence[Check]) -> str:
    words = {True: '<span class="ok">holds</span>', False: '<span class="fails">fails</span>', None: "shown only"}
    rows = [(escape(check.what), escape(check.measured), escape(check.bound), words[check.holds]) for check in found]
    return _table("What the run may show and still pass", ("threshold", "measured", "bound", "outcome"), rows)


def _groups(summary: Summary) -> str:
    rows = []
    for group in summary.groups:
        kinds = (("due", group.client_ms), ("sent", group.sent_ms), ("service", group.server_ms))
        for kind, values in (*kinds, ("outside", group.outside_ms)):
            if values["p50"] is not None:
                counts = (str(group.requests), str(group.failed), str(group.degraded))
                rows.append((escape(name_of(group)), kind, *counts, *_cells(values)))
    caption = (
        "Milliseconds: from when requests were due; from when they were sent; what the answers say that they took the "
        "service; and what lies between the last two, which is transport and the client's own work"
    )
    return _table(caption, ("requests", "since", "n", "failed", "degraded", *PERCENTILES), rows)


def _beside(summary: Summary) -> str:
    rows = []
    for row in summary.beside:
        low, high = row.p99_bucket_ms
        bucket = f"{low:g} to {'∞' if high is None else f'{high:g}'}"
        clocks = (f"{row.client_ms['p99']:.1f}", f"{row.server_ms['p99']:.1f}", f"{row.p99_gap:.1%}", bucket)
        rows.append((escape(name_of(row)), str(row.client_requests), str(row.server_requests), *clocks))
    if not rows:
        return "<p>The service's metrics could not be read, or have nothing of these requests.</p>"
    caption = (
        "99th percentiles in milliseconds from sending, both interpolated in the buckets of the service's histogram"
    )
    head = ("requests", "n, client", "n, service", "client", "service", "gap", "service's bucket")
    return _table(caption, head, rows)


def _outcomes(summary: Summary) -> str:
    outcomes = [(escape(code), str(count), f"{summary.share(count):.2%}") for code, count in summary.outcomes.items()]
    reasons = [(escape(code), str(count), f"{summary.share(count):.2%}") for code, count in summary.reasons.items()]
    tables = _table("Answers by outcome", ("outcome", "n", "of all"), outcomes)
    return tables + (_table("Reasons given with answers", ("reason", "n", "of all"), reasons) if reasons else "")


def _cells(values: Percentiles) -> list[str]:
    return ["-" if values[name] is None else f"{values[name]:.1f}" for name in PERCENTILES]


def _chart(title: str, unit: str, intervals: Sequence[Interval], series: Sequence[Series]) -> str:
    """Lines over time, the highest value said in words for those who do not see them."""
    peaks = [max((value for at in intervals if (value := of(at)) is not None), default=0.0) for _, of in series]
    top = max(peaks) or 1.0
    words = ", ".join(f"{name} at most {peak:.1f} {unit}" for (name, _), peak in zip(series, peaks, strict=True))
    end = intervals[-1].start_seconds + intervals[-1].seconds
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}" '
        f'points="{_points(intervals, of, end, top)}"/>'
        f'<line x1="{LEFT + 110 * at}" x2="{LEFT + 26 + 110 * at}" y1="{TOP - 2}" y2="{TOP - 2}" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash}"/>'
        f'<text x="{LEFT + 32 + 110 * at}" y="{TOP + 2}">{escape(name)}</text>'
        for at, ((name, of), colour, dash) in enumerate(zip(series, SERIES, DASHES, strict=False))
    )
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'aria-label="{escape(f"{title}: {words}")}">{_axes(top, end, unit)}{lines}</svg><p>{escape(words)}.</p>'
    )


def _points(intervals: Sequence[Interval], of: Callable[[Interval], float | None], end: float, top: float) -> str:
    points = []
    for interval in intervals:
        value = of(interval)
        if value is not None:
            x = LEFT + (WIDTH - LEFT) * (interval.start_seconds + interval.seconds / 2) / end
            points.append(f"{x:.1f},{_height(value, top):.1f}")
    return " ".join(points)


def _height(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP - 10) * value / top


def _axes(top: float, end: float, unit: str) -> str:
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_height(value, top):.1f}" y2="{_height(value, top):.1f}" stroke="#ccc"/>'
        f'<text x="{LEFT - 6}" y="{_height(value, top) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (0.0, top / 2, top)
    )
    return (
        f'{grid}<text x="{LEFT}" y="{HEIGHT - 8}">0 s</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 8}" text-anchor="end">{end:g} s</text>'
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(unit)}</text>'
    )
