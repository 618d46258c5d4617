import json
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import pytest

from loadtests.page import page
from loadtests.plan import Plan, Thresholds, plan_of
from loadtests.report import as_text, record
from loadtests.samples import Label, Sample, Table
from loadtests.summary import Summary, summarize
from loadtests.traffic import Bodies
from loadtests.verdict import as_text as checks_as_text
from loadtests.verdict import checks, passed
from localrec.bench.scrape import Scrape, parse

PLAN = Plan("steady", "http://127.0.0.1:8080", 10.0, 20.0, Bodies(), "runs/loadtest", ("u1", "u2"), law="constant")
LOCAL = Label("/recommend", "local", "", "ok", ())
CF = LOCAL._replace(pipeline="cf", outcome="degraded", reasons=("worker_timeout",))
LOST = Label("/recommend", "", "", "no_answer", ())
BOUNDS = (0.01, 0.025, 0.05, 0.1)
PROVENANCE = {"commit": "abc", "hardware": "a machine", "ended_at": "2026-01-01T00:00:00+00:00"}


def table(*samples: Sample) -> Table:
    made = Table()
    for sample in samples:
        made.add(sample)
    return made


def steady(count: int = 200, label: Label = LOCAL, latency_ms: float = 12.0, late_ms: float = 1.0) -> list[Sample]:
    return [Sample(number / 10, late_ms, latency_ms, latency_ms - late_ms - 2.0, label) for number in range(count)]


def metrics(counts: dict[tuple[str, str], list[int]], process: str = "") -> str:
    """Exposition of cumulative counts by pipeline and variant, for the bounds and infinity."""
    lines = ["# TYPE localrec_request_seconds histogram"]
    of_process = f',process="{process}"' if process else ""
    for (pipeline, variant), reached in counts.items():
        labels = f'route="/recommend",pipeline="{pipeline}",variant="{variant}",outcome="ok"{of_process}'
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], reached, strict=True):
            lines.append(f'localrec_request_seconds_bucket{{{labels},le="{bound}"}} {count}')
        lines.append(f"localrec_request_seconds_count{{{labels}}} {reached[-1]}")
    return "\n".join(lines) + "\n"


def summary(*samples: Sample, wanted: int | None = None, after: str = "", before: str = "") -> Summary:
    count = len(samples) if wanted is None else wanted
    return summarize(PLAN, table(*samples), count, parse(before), parse(after))


def test_latency_counts_from_when_due_and_the_rest_from_sending():
    found = summary(*steady(latency_ms=112.0, late_ms=100.0))
    (group,) = found.groups
    assert found.client_ms["p99"] == group.client_ms["p99"] == 112.0
    assert group.sent_ms["p99"] == 12.0
    assert group.server_ms["p99"] == 10.0
    assert group.outside_ms["p50"] == 2.0
    assert found.send_late_ms["p50"] == 100.0


def test_groups_are_by_path_pipeline_and_variant():
    other = LOCAL._replace(variant="ranker:new")
    found = summary(*steady(30), *steady(20, other, 30.0), *steady(10, CF, 90.0))
    assert [(group.pipeline, group.variant, group.requests) for group in found.groups] == [
        ("cf", "", 10),
        ("local", "", 30),
        ("local", "ranker:new", 20),
    ]
    assert [group.client_ms["max"] for group in found.groups] == [90.0, 12.0, 30.0]
    assert (found.degraded, found.reasons) == (10, {"worker_timeout": 10})


def test_lost_requests_are_late_and_not_achieved():
    found = summary(*steady(90), *steady(10, LOST, 10_000.0), wanted=110)
    assert (found.failed, found.late, found.answered_in_time) == (10, 10, 90)
    assert found.achieved_share == pytest.approx(90 / 110)
    assert found.outcomes == {"ok": 90, "no_answer": 10}


def test_answers_after_the_end_of_the_run_do_not_count_as_achieved():
    late = Sample(19.9, 0.0, 500.0, 400.0, LOCAL)
    assert summary(*steady(99), late).answered_in_time == 99


def test_what_a_check_adds_was_not_due():
    added = [Sample(sample.due_seconds, nan, 5.0, nan, LOCAL) for sample in steady(20)]
    found = summary(*steady(100), *added, wanted=100)
    assert (found.requests, found.achieved_share) == (120, 1.0)
    assert found.groups[0].sent_ms["p50"] == 11.0


def test_the_services_histogram_stands_beside_the_clients_in_its_own_buckets():
    before = metrics({("local", ""): [5, 5, 5, 5, 5]})
    after = metrics({("local", ""): [5, 205, 205, 205, 205]})
    (row,) = summary(*steady(), before=before, after=after).beside
    assert (row.client_requests, row.server_requests) == (200, 200)
    assert row.p99_bucket_ms == (10.0, 25.0)
    assert row.client_ms["p99"] == row.server_ms["p99"] == pytest.approx(10 + 15 * 0.99)
    assert row.p99_gap == 0.0


def test_the_gap_grows_with_the_distance():
    after = metrics({("local", ""): [200, 200, 200, 200, 200]})
    found = summary(*steady(), after=after)
    assert found.p99_gap == pytest.approx(1 - 9.9 / 24.85)


def test_the_histograms_of_several_processes_are_added():
    halves = [metrics({("local", ""): [0, 100, 100, 100, 100]}, process) for process in ("0", "1")]
    after = halves[0] + halves[1].split("\n", 1)[1]
    (row,) = summary(*steady(), after=after).beside
    assert row.server_requests == 200


def test_variants_are_compared_where_both_sides_name_them():
    other = LOCAL._replace(variant="ranker:new")
    after = metrics({("local", ""): [0, 30, 30, 30, 30], ("local", "ranker:new"): [0, 20, 20, 20, 20]})
    rows = summary(*steady(30), *steady(20, other), after=after).beside
    assert [(row.variant, row.client_requests, row.server_requests) for row in rows] == [
        (None, 50, 50),
        ("ranker:new", 20, 20),
    ]


def test_beyond_the_last_bucket_the_service_has_no_upper_bound():
    found = summary(*steady(latency_ms=300.0), after=metrics({("local", ""): [0, 0, 0, 0, 200]}))
    assert found.beside[0].p99_bucket_ms == (100.0, None)
    json.dumps(record(PLAN, found, checks(found, PLAN.thresholds), PROVENANCE), allow_nan=False)


def test_throughput_is_over_time_beside_what_was_wanted():
    lost_after_the_half = [sample if sample.due_seconds < 10 else sample._replace(label=LOST) for sample in steady()]
    intervals = summary(*lost_after_the_half).intervals
    assert len(intervals) == 20
    assert {interval.wanted_rate for interval in intervals} == {10.0}
    assert [interval.answered_rate for interval in intervals] == [10.0] * 10 + [0.0] * 10
    assert [interval.failed_rate for interval in intervals] == [0.0] * 10 + [10.0] * 10


def outcome(found: Summary, thresholds: Thresholds) -> list[str]:
    return [check.what for check in checks(found, thresholds) if check.holds is False]


def test_a_run_at_its_thresholds_holds_them():
    found = summary(*steady(99), *steady(1, CF))
    exact = Thresholds(0.0, 12.0, 0.01, 0.0, 1.0)
    assert outcome(found, exact) == []
    assert passed(checks(found, exact))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"max_error_share": 0.09}, "failed requests"),
        ({"max_p99_ms": 11.9}, "p99 from when it was due"),
        ({"max_degraded_share": 0.09}, "degraded answers"),
        ({"max_late_share": 0.09}, "answers after the deadline, or none"),
        ({"min_achieved_share": 0.91}, "answered in the run, of those due"),
        ({"max_p99_gap": 0.1}, "p99: client against service"),
    ],
)
def test_each_threshold_fails_the_run(change: dict[str, float], what: str):
    found = summary(*steady(80), *steady(10, CF), *steady(10, LOST), wanted=100)
    allowing = Thresholds(0.1, 12.0, 0.1, 0.1, 0.9)
    assert outcome(found, allowing) == []
    assert outcome(found, replace(allowing, **change)) == [what]
    assert checks_as_text(checks(found, replace(allowing, **change))).endswith("FAILED")


def test_a_run_without_a_request_does_not_pass():
    found = summary(wanted=10)
    assert len(outcome(found, Thresholds())) == 5
    as_text(PLAN, found)


def test_without_the_services_metrics_the_rest_is_reported():
    found = summarize(PLAN, table(*steady()), 200, Scrape({}), Scrape({}))
    assert (found.beside, found.p99_gap) == ((), None)
    assert "could not be read" in page(PLAN, found, checks(found, PLAN.thresholds), PROVENANCE)


class Page(HTMLParser):
    """What must hold of a page: tags that close, headings that say what they head, nothing from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.tags, self.bare = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in {"meta"}:
            self.open.append(tag)
        if (tag == "th" and "scope" not in attributes) or (tag == "svg" and not attributes.get("aria-label")):
            self.bare.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_stands_alone():
    after = metrics({("local", ""): [0, 190, 200, 200, 200]})
    found = summary(*steady(190), *steady(10, LOST), after=after)
    html = page(replace(PLAN, host="http://x/<b>"), found, checks(found, PLAN.thresholds), PROVENANCE)
    read = Page()
    read.feed(html)
    assert (read.open, read.bare) == ([], [])
    assert {"h1", "h2", "table", "svg", "polyline"} <= {tag for tag, _ in read.tags}
    assert not any({"src", "href", "onload"} & attributes.keys() for _, attributes in read.tags)
    assert "<b>" not in html
    assert "nan" not in html


def test_a_plan_is_the_same_after_it_was_text():
    plan = replace(PLAN, thresholds=Thresholds(max_p99_gap=0.1), item_ids=("i1",))
    assert plan_of(plan.to_json()) == plan
    with pytest.raises(ValueError, match="Expected `str`"):
        plan_of('{"profile": 3}')
