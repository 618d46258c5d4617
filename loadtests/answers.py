"""What an answer says: whether it is what was asked for, who made it, and how long that took the service."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import orjson

from loadtests.traffic import BATCH, EVENTS, RECOMMEND, Request

OK, DEGRADED = "ok", "degraded"
NO_ANSWER, NO_LIST, SHORT_LIST, STALE = "no_answer", "not_what_was_asked", "short_list", "event_not_in_next_list"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, status 0 where nothing did; and when it was sent and came, in seconds of one clock."""

    status: int
    body: bytes = b""
    began: float = 0.0
    ended: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Judgement of an answer.

    Args:
        outcome: ``ok``, ``degraded``, or why it failed: the service's error code, or ours.
        pipeline, variant: that answered, as the service's metrics call them; empty where the answer does not say.
        reasons: codes of the reasons that it gives.
        server_ms: what it took the service, as it says; NaN where it does not.
        items: of its list.
    """

    outcome: str
    pipeline: str = ""
    variant: str = ""
    reasons: tuple[str, ...] = ()
    server_ms: float = nan
    items: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.outcome not in (OK, DEGRADED)


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange of a request: its path, what came, and its judgement. A check has three."""

    route: str
    reply: Reply
    verdict: Verdict


Post = Callable[[str, bytes], Reply]


def perform(request: Request, post: Post) -> Iterator[Step]:
    """Send a request, and judge what comes; of a check, an event on the first item, too, which must then be gone."""
    first = _exchange(request.route, request.body, request.n, post)
    yield first
    if request.kind != "check" or not first.verdict.items:
        return
    item_id, user_id = first.verdict.items[0], json.loads(request.body)["user_id"]
    event = {"type": "click", "user_id": user_id, "item_id": item_id}
    accepted = _exchange(EVENTS, json.dumps(event).encode(), request.n, post)
    yield accepted
    if not accepted.verdict.failed:
        after = _exchange(RECOMMEND, request.body, request.n, post)
        yield replace(after, verdict=replace(after.verdict, outcome=STALE)) if item_id in after.verdict.items else after


def _exchange(route: str, body: bytes, n: int, post: Post) -> Step:
    reply = post(route, body)
    return Step(route, reply, judge(route, reply, n))


def judge(route: str, reply: Reply, n: int) -> Verdict:
    """Judge an answer: it fails unless its status is 200 and it brings what was asked for, lists with ``n`` items."""
    if reply.status == 0:
        return Verdict(NO_ANSWER)
    try:
        answer = orjson.loads(reply.body)
        if reply.status != 200:
            return Verdict(str(answer["error"]["code"]))
        return _READERS[route](answer, n)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Verdict(NO_LIST if reply.status == 200 else f"status_{reply.status}")


def _of_list(answer: dict[str, Any], n: int) -> Verdict:
    items = tuple(str(item["item_id"]) for item in answer["items"])
    outcome = SHORT_LIST if len(items) < n else DEGRADED if answer["degraded"] is True else OK
    return Verdict(
        outcome,
        pipeline=answer["pipeline"],
        variant=",".join(f"{name}:{variant}" for name, variant in answer["experiments"].items()),
        reasons=tuple(reason.split(":", 1)[0] for reason in answer["reasons"]),
        server_ms=float(answer["timings_ms"]["total"]),
        items=items,
    )


def _of_batch(answer: dict[str, Any], n: int) -> Verdict:
    """The worst of its lists; a batch is of no pipeline and no variant."""
    parts = [
        Verdict(str(part["error"]["code"])) if "error" in part else _of_list(part, n) for part in answer["responses"]
    ]
    failed = [part.outcome for part in parts if part.failed]
    outcome = failed[0] if failed else DEGRADED if any(part.outcome == DEGRADED for part in parts) else OK
    reasons = tuple(sorted({reason for part in parts for reason in part.reasons}))
    return Verdict(outcome, reasons=reasons, server_ms=float(answer["timings_ms"]["total"]))


def _of_events(answer: dict[str, Any], n: int) -> Verdict:
    return Verdict(OK if answer["accepted"] + answer["duplicates"] == 1 else NO_LIST)


_READERS: dict[str, Callable[[dict[str, Any], int], Verdict]] = {
    RECOMMEND: _of_list,
    BATCH: _of_batch,
    EVENTS: _of_events,
}
