"""``POST /events``: what users did."""

import time
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.api.body import read_body
from service.gateway.api.event_schemas import EventBody, EventsBody
from service.gateway.api.route import respond
from service.gateway.api.scope import gateway_of
from service.gateway.errors import ApiError, invalid_request
from service.gateway.gateway import Gateway
from service.gateway.store.event_script import NewEvent
from service.json_response import json_response
from service.request_id import new_request_id

EVENTS_PATH = "/events"
MAX_EVENTS_BYTES = 512 * 1024
MAX_AHEAD_SECONDS = 86_400.0  # a caller's clock may be wrong, by the widest of time zones too


async def events(request: Request) -> Response:
    """``POST /events``: one event, or ``{"events": [...]}``. All of them are valid, or none is stored."""

    async def record(request_id: str) -> Response:
        gateway = gateway_of(request)
        new = parse_events(await read_body(request.receive, MAX_EVENTS_BYTES), time.time())
        accepted = await gateway.events.append(new)
        return json_response(_answer(request_id, new, accepted, gateway))

    return await respond(request, EVENTS_PATH, record)


def parse_events(body: bytes, now: float) -> list[NewEvent]:
    """The events of a body.

    Args:
        body: JSON of :class:`EventBody` or of :class:`EventsBody`.
        now: seconds since 1970; the time of events that have none.

    Raises:
        ApiError: 422, with the field at fault.
    """
    try:
        document = from_json(body)
    except ValueError as exc:
        raise ApiError(422, "invalid_json", str(exc)) from exc
    try:
        if isinstance(document, dict) and "events" in document:
            named = [(f"events.{row}.", body) for row, body in enumerate(EventsBody.model_validate(document).events)]
        else:
            named = [("", EventBody.model_validate(document))]
    except ValidationError as exc:
        raise invalid_request(exc) from exc
    return [_checked(event, where, now) for where, event in named]


def _checked(body: EventBody, where: str, now: float) -> NewEvent:
    if body.type == "rating" and body.value is None:
        raise ApiError(422, "invalid_request", "A rating has a value", f"{where}value")
    if body.timestamp is not None and body.timestamp > now + MAX_AHEAD_SECONDS:
        message = "Expected seconds since 1970, at most a day in the future"
        raise ApiError(422, "invalid_request", message, f"{where}timestamp")
    return body.event(new_request_id(), now)


def _answer(request_id: str, new: Sequence[NewEvent], accepted: Sequence[bool], gateway: Gateway) -> dict[str, object]:
    """The body of ``EventsResponse``."""
    snapshot = gateway.follower.snapshot
    outcomes = [
        {
            "event_id": each.event.event_id,
            "status": "accepted" if is_new else "duplicate",
            "known_item": snapshot is not None and snapshot.catalogue.number(each.event.item_id) is not None,
        }
        for each, is_new in zip(new, accepted, strict=True)
    ]
    n_accepted = sum(accepted)
    return {
        "request_id": request_id,
        "accepted": n_accepted,
        "duplicates": len(new) - n_accepted,
        "outcomes": outcomes,
    }
