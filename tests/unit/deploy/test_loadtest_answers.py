import json
from math import isnan
from typing import Any

import pytest

from loadtests.answers import Reply, judge, perform
from loadtests.traffic import BATCH, EVENTS, RECOMMEND, Request


def answer(n_items: int = 10, **changes: Any) -> dict[str, Any]:
    items = [{"item_id": str(number)} for number in range(n_items)]
    return {
        "items": items,
        "pipeline": "local",
        "experiments": {},
        "degraded": False,
        "reasons": [],
        "timings_ms": {"total": 7.5},
    } | changes


def reply(document: Any, status: int = 200) -> Reply:
    return Reply(status, document if isinstance(document, bytes) else json.dumps(document).encode())


def test_a_full_list_is_good_and_says_who_made_it():
    verdict = judge(RECOMMEND, reply(answer(experiments={"ranker": "new"})), 10)
    assert (verdict.outcome, verdict.pipeline, verdict.variant) == ("ok", "local", "ranker:new")
    assert verdict.server_ms == 7.5
    assert not verdict.failed


def test_a_degraded_list_gives_its_reasons_without_their_numbers():
    verdict = judge(RECOMMEND, reply(answer(degraded=True, reasons=["narrowed:2/5", "worker_timeout:c03"])), 10)
    assert (verdict.outcome, verdict.reasons) == ("degraded", ("narrowed", "worker_timeout"))
    assert not verdict.failed


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (Reply(0), "no_answer"),
        (reply({"error": {"code": "overloaded"}}, 503), "overloaded"),
        (reply(b"<html>", 502), "status_502"),
        (reply(answer(9)), "short_list"),
        (reply(b""), "not_what_was_asked"),
        (reply([]), "not_what_was_asked"),
        (reply(answer() | {"items": None}), "not_what_was_asked"),
        (reply({"items": []}), "not_what_was_asked"),
    ],
)
def test_anything_else_fails_and_says_why(given: Reply, outcome: str):
    verdict = judge(RECOMMEND, given, 10)
    assert (verdict.outcome, verdict.failed) == (outcome, True)
    assert outcome == "short_list" or isnan(verdict.server_ms)


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ([answer(), answer()], "ok"),
        ([answer(), answer(degraded=True)], "degraded"),
        ([answer(degraded=True), {"user_id": "u", "error": {"code": "overloaded"}}], "overloaded"),
        ([answer(), answer(3)], "short_list"),
    ],
)
def test_a_batch_is_as_good_as_its_worst_list(parts: list[Any], outcome: str):
    verdict = judge(BATCH, reply({"responses": parts, "timings_ms": {"total": 20.0}}), 10)
    assert (verdict.outcome, verdict.server_ms, verdict.pipeline) == (outcome, 20.0, "")


def test_an_event_must_have_been_taken():
    assert judge(EVENTS, reply({"accepted": 1, "duplicates": 0}), 10).outcome == "ok"
    assert judge(EVENTS, reply({"accepted": 0, "duplicates": 0}), 10).failed


class Shop:
    """A service that shows the items it has not heard of, or, where it is deaf, all of them."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf, self.seen, self.calls = deaf, set(), []

    def post(self, path: str, body: bytes) -> Reply:
        self.calls.append(path)
        if path == EVENTS:
            self.seen.add(json.loads(body)["item_id"])
            return reply({"accepted": 1, "duplicates": 0})
        shown = [str(number) for number in range(20) if self.deaf or str(number) not in self.seen][:10]
        return reply(answer(items=[{"item_id": item} for item in shown]))


CHECK = Request("check", RECOMMEND, b'{"user_id": "u"}', 10)


def test_a_check_finds_that_an_event_is_in_the_next_list():
    shop = Shop()
    steps = list(perform(CHECK, shop.post))
    assert [step.verdict.outcome for step in steps] == ["ok", "ok", "ok"]
    assert shop.calls == [RECOMMEND, EVENTS, RECOMMEND]


def test_a_check_fails_where_the_next_list_does_not_know_the_event():
    steps = list(perform(CHECK, Shop(deaf=True).post))
    assert steps[-1].verdict.outcome == "event_not_in_next_list"
    assert steps[-1].verdict.failed
    assert steps[-1].verdict.pipeline == "local"


def test_all_else_is_one_exchange():
    shop = Shop()
    assert len(list(perform(Request("recommend", RECOMMEND, b"{}", 10), shop.post))) == 1
    assert shop.calls == [RECOMMEND]
