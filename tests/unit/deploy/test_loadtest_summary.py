import dataclasses
import json

import pytest

from loadtests.summary import Summary, Thresholds, Verdict, breaches, judge, render

GOOD = Summary(requests=200, failures=2, degraded=10, requests_per_second=20.0, p50_ms=8, p95_ms=30, p99_ms=100)
THRESHOLDS = Thresholds(max_error_share=0.01, max_p99_ms=100)


def answer(n_items: int, *, degraded: bool = False) -> bytes:
    return json.dumps({"items": [{"item_id": str(i)} for i in range(n_items)], "degraded": degraded}).encode()


def test_full_list_is_good() -> None:
    assert judge(200, answer(10), 10) == Verdict(None, degraded=False)
    assert judge(200, answer(10, degraded=True), 10) == Verdict(None, degraded=True)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (0, None, "no response"),
        (503, answer(10), "status 503"),
        (204, answer(10), "status 204"),
        (200, answer(9), "9 of 10 items"),
        (200, b"", "not a recommendation"),
        (200, b"<html>", "not a recommendation"),
        (200, b"[]", "not a recommendation"),
        (200, b'{"items": null, "degraded": false}', "not a recommendation"),
        (200, b'{"items": []}', "not a recommendation"),
    ],
)
def test_anything_else_fails_and_says_why(status: int, body: bytes | None, failure: str) -> None:
    verdict = judge(status, body, 10)
    assert verdict.failure is not None
    assert verdict.failure.startswith(failure)
    assert not verdict.degraded


def test_a_run_at_its_thresholds_holds_them() -> None:
    assert breaches(GOOD, THRESHOLDS) == []


def test_each_threshold_is_compared() -> None:
    errors = dataclasses.replace(GOOD, failures=3)
    slow = dataclasses.replace(GOOD, p99_ms=100.5)
    assert breaches(errors, THRESHOLDS) == ["error share 0.0150 is above 0.01"]
    assert breaches(slow, THRESHOLDS) == ["p99 100 ms is above 100 ms"]
    assert len(breaches(dataclasses.replace(slow, failures=3), THRESHOLDS)) == 2


def test_a_run_without_a_request_does_not_pass() -> None:
    nothing = Summary(requests=0, failures=0, degraded=0, requests_per_second=0, p50_ms=0, p95_ms=0, p99_ms=0)
    assert breaches(nothing, THRESHOLDS) == ["no request was made"]
    assert "0.00%" in render(nothing, [])


def test_text_shows_figures_and_ends_with_the_outcome() -> None:
    text = render(GOOD, [])
    for figure in ("200 (20.0 a second)", "2 (1.00%)", "10 (5.00%)", "p50 8 ms, p95 30 ms, p99 100 ms"):
        assert figure in text
    assert text.endswith("passed")
    assert render(GOOD, ["p99 is late"]).endswith("broken     p99 is late\nFAILED")
