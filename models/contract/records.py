"""What the service records, for retraining and for experiments: one stream entry holds a batch of records as JSON.

A record may be in its stream twice, where a process stopped while it wrote: readers keep the first of each
``event_id`` and ``user_id``, or of each ``request_id``, ``user_id``, ``shadow`` and ``timestamp_ms``: a caller may give
all requests of a page one id. Unknown fields are ignored, absent ones have defaults: streams outlive a version.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from models.contract.redis_schema import FormatError

EventType = Literal["view", "click", "add_to_cart", "purchase", "rating"]
Context = dict[str, str | float | bool]
R = TypeVar("R")
RECORDS_FIELD = b"e"  # of a stream entry: the records, a JSON array


class Exposure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One list that was made.

    Args:
        request_id: of the request; events name it to be attributed.
        user_id: whose list.
        timestamp_ms: when, milliseconds since 1970.
        bundle_id: model version.
        pipeline: what answered.
        experiments: the user's variant of each experiment.
        items: item ids, best first.
        sources: what brought each item.
        forced: whether a variant was asked for or set by an allowlist, not drawn: to be left out of reports.
        shadow: name of the shadow variant that made the list, which was then not shown; empty where it was shown.
        voters: names of the voters behind the list.
        ranks: for each item its rank in each voter's list, 0 where it is not there.
        degraded: whether something planned was missing.
        cached: whether the list was made for an earlier, equal request.
        latency_ms: from the request's head to its answer.
        context: what the request said of the situation.
    """

    request_id: str
    user_id: str
    timestamp_ms: int
    bundle_id: str
    pipeline: str
    experiments: dict[str, str]
    items: tuple[str, ...]
    sources: tuple[str, ...]
    forced: bool = False
    shadow: str = ""
    voters: tuple[str, ...] = ()
    ranks: tuple[tuple[int, ...], ...] = ()
    degraded: bool = False
    cached: bool = False
    latency_ms: float = 0.0
    context: Context = {}


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a user did.

    Args:
        event_id: the same id twice is the same event, if it is the same user's.
        type: what was done.
        user_id: by whom.
        item_id: with which item.
        timestamp_ms: when, milliseconds since 1970.
        value: stars of a rating, revenue of a purchase; None where there is none.
        request_id: of the list in which the item was found, where it was in one.
        context: what the caller says of the situation.
    """

    event_id: str
    type: EventType
    user_id: str
    item_id: str
    timestamp_ms: int
    value: float | None = None
    request_id: str | None = None
    context: Context = {}


def encode_records(batch: Sequence[Exposure] | Sequence[Event]) -> dict[bytes, bytes]:
    """Fields of one stream entry."""
    return {RECORDS_FIELD: msgspec.json.encode(batch)}


def encode_record(record: Exposure | Event) -> bytes:
    """One record: between brackets and separated by commas they are the value of ``RECORDS_FIELD``."""
    return msgspec.json.encode(record)


def without_user(records: bytes, user_id: str) -> tuple[bytes, int]:
    """The value of ``RECORDS_FIELD`` without a user's records, and how many those are.

    The others stay as they are, whichever version wrote them; where there are none, nothing is left. A value that
    cannot be read and names the user is given up as a whole, as one record.
    """
    if msgspec.json.encode(user_id) not in records:  # spares most entries their decoding
        return records, 0
    try:
        everyones = msgspec.json.decode(records, type=list[msgspec.Raw])
        others = [record for record in everyones if msgspec.json.decode(record, type=_Owned).user_id != user_id]
    except ValueError:
        return b"", 1
    return msgspec.json.encode(others) if others else b"", len(everyones) - len(others)


class _Owned(msgspec.Struct):
    """What all records have."""

    user_id: str


def decode_exposures(fields: Mapping[bytes, bytes]) -> list[Exposure]:
    """The exposures of one entry. Raises FormatError."""
    return _decode(fields, Exposure)


def decode_recorded_events(fields: Mapping[bytes, bytes]) -> list[Event]:
    """The events of one entry. Raises FormatError."""
    return _decode(fields, Event)


def _decode(fields: Mapping[bytes, bytes], record: type[R]) -> list[R]:
    try:
        return msgspec.json.decode(fields[RECORDS_FIELD], type=list[record])  # type: ignore[valid-type] # a type at run time
    except (KeyError, ValueError) as exc:
        raise FormatError(f"{record.__name__.lower()}: {exc}") from exc
