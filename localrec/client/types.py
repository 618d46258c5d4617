"""Answers of the service, and what is told it. Fields that a newer service adds are ignored."""

from typing import Literal

import msgspec

Scalar = str | float | bool
EventType = Literal["view", "click", "add_to_cart", "purchase", "rating"]


class Vote(msgspec.Struct, frozen=True):
    """One voter's part in an item's place; ``global`` and ``cf`` are no communities and have no affinity."""

    community: int | None
    name: str
    rank: int
    affinity: float | None
    contribution: float


class Item(msgspec.Struct, frozen=True):
    """One recommended item: ``rank`` from 1, ``source`` is what brought it, such as ``local`` or ``ulmrec``."""

    item_id: str
    rank: int
    score: float
    source: str
    title: str | None = None
    explanation: list[Vote] | None = None


class Recommendation(msgspec.Struct, frozen=True):
    """A list. ``degraded`` says that something planned is missing from it, ``reasons`` what."""

    request_id: str
    user_id: str
    items: list[Item]
    model_version: str
    experiments: dict[str, str]
    pipeline: str
    degraded: bool
    reasons: list[str]
    timings_ms: dict[str, float]


class ErrorBody(msgspec.Struct, frozen=True):
    """The service's error object."""

    code: str
    message: str
    field: str | None = None


class RefusedRequest(msgspec.Struct, frozen=True):
    """One request of a batch that has no list, and why."""

    user_id: str | None
    error: ErrorBody


class SimilarItem(msgspec.Struct, frozen=True):
    """An item near another one; ``score`` is a cosine."""

    item_id: str
    rank: int
    score: float
    title: str | None = None


class SimilarItems(msgspec.Struct, frozen=True):
    """The items nearest to ``item_id``."""

    request_id: str
    item_id: str
    items: list[SimilarItem]
    model_version: str


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a user did.

    Args:
        type: view, click, add_to_cart, purchase or rating.
        user_id: by whom.
        item_id: with which item.
        timestamp: seconds since 1970; None: when the service hears of it.
        value: stars of a rating, revenue of a purchase.
        request_id: of the recommendation in which the item was found.
        context: device, page, …
        event_id: the same id twice is the same event. The client gives one to events that have none, so that a call can
            be repeated without harm.
    """

    type: EventType
    user_id: str
    item_id: str
    timestamp: float | None = None
    value: float | None = None
    request_id: str | None = None
    context: dict[str, Scalar] = {}
    event_id: str | None = None


class EventOutcome(msgspec.Struct, frozen=True):
    """What became of one event: ``accepted`` or ``duplicate``."""

    event_id: str
    status: str


class Events(msgspec.Struct, frozen=True):
    """What became of events, in their order."""

    request_id: str
    accepted: int
    duplicates: int
    outcomes: list[EventOutcome]


class ItemFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attribute must be: one of ``any_of``, none of ``none_of``, a number from ``min`` to ``max``."""

    any_of: list[str] | None = None
    none_of: list[str] = []
    min: float | None = None
    max: float | None = None
