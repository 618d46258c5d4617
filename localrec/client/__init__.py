"""A typed client of the service: ``Client`` for ordinary code, ``AsyncClient`` for asyncio. Extra: ``client``.

with Client("http://127.0.0.1:8080") as client:
    answer = client.recommend("196", n=3)
    client.record(Event("click", user_id="196", item_id=answer.items[0].item_id, request_id=answer.request_id))
"""

from localrec.client.calls import Ask
from localrec.client.client import AsyncClient, Client
from localrec.client.errors import ApiError, ClientError, MalformedAnswerError, TimeoutExceededError, UnreachableError
from localrec.client.types import (
    Event,
    EventOutcome,
    Events,
    Item,
    ItemFilter,
    Recommendation,
    RefusedRequest,
    SimilarItem,
    SimilarItems,
    Vote,
)

__all__ = [
    "ApiError",
    "Ask",
    "AsyncClient",
    "Client",
    "ClientError",
    "Event",
    "EventOutcome",
    "Events",
    "Item",
    "ItemFilter",
    "MalformedAnswerError",
    "Recommendation",
    "RefusedRequest",
    "SimilarItem",
    "SimilarItems",
    "TimeoutExceededError",
    "UnreachableError",
    "Vote",
]
