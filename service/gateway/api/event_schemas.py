"""What crosses the wire of ``POST /events``."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel

from models.contract.records import Event, EventType
from service.gateway.api.schemas import CLEAN, MAX_ATTRIBUTES, AttributeName, Id, Number, Text
from service.gateway.store.event_script import NewEvent

MAX_EVENTS = 500
MAX_ITEM_ID_BYTES = 255  # a history has one byte for the length


def _short(item_id: str) -> str:
    if len(item_id.encode()) > MAX_ITEM_ID_BYTES:
        raise ValueError(f"expected at most {MAX_ITEM_ID_BYTES} bytes of UTF-8")
    return item_id


class EventBody(BaseModel):
    """One thing that a user did: the body of ``POST /events``, or one of many."""

    model_config = ConfigDict(extra="forbid", strict=True)

    event_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=CLEAN,
        description="unique among the user's events: the same id twice is the same event; default: one is made",
    )
    type: EventType
    user_id: Id
    item_id: Annotated[Id, AfterValidator(_short)]
    timestamp: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="seconds since 1970; up to a day ahead means now; default: now"
    )
    value: Number | None = Field(default=None, description="stars of a rating, revenue of a purchase")
    request_id: Id | None = Field(default=None, description="of the list in which the item was found")
    context: dict[AttributeName, Text | Number | bool] = Field(default={}, max_length=MAX_ATTRIBUTES)

    def event(self, event_id: str, now: float) -> NewEvent:
        """The event without its transport: ``event_id`` where it has none, and ``now`` where it has no time.

        One of the future is the time of a clock that is ahead: ``now``, too.
        """
        is_stamped = self.timestamp is None or self.timestamp > now
        seconds = now if self.timestamp is None else min(self.timestamp, now)
        event = Event(
            event_id=self.event_id or event_id,
            type=self.type,
            user_id=self.user_id,
            item_id=self.item_id,
            timestamp_ms=int(seconds * 1_000),
            value=self.value,
            request_id=self.request_id,
            context=self.context,
        )
        return NewEvent(event, is_stamped=is_stamped)


class EventsBody(BaseModel):
    """Many events: the body of ``POST /events``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS)


class EventsRequest(RootModel[EventBody | EventsBody]):
    """Body of ``POST /events``, for the OpenAPI document: one event, or many."""


class EventOutcome(BaseModel):
    """What became of one event: ``accepted`` or ``duplicate``. ``known_item``: the bundle in service has the item."""

    event_id: str
    status: str
    known_item: bool


class EventsResponse(BaseModel):
    """Body of the answer to ``POST /events``; outcomes in the order of the events."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    accepted: int
    duplicates: int
    outcomes: list[EventOutcome]
