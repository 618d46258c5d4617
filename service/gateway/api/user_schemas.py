"""What crosses the wire of ``/users/{user_id}``."""

from pydantic import BaseModel, ConfigDict


class CommunityBody(BaseModel):
    """One community of a user: affinity under the CF space, and what its model was worth to the user so far."""

    community: int
    name: str | None
    affinity: float
    weight: float


class ProfileBody(BaseModel):
    """The published profile. ``fresh``: the history is still the one that it was made from; else lists are not its."""

    bundle: str | None
    fresh: bool
    embedding_size: int
    communities: list[CommunityBody]


class HistoryEventBody(BaseModel):
    """One event of the history; ``timestamp`` in seconds since 1970, 0 where unknown."""

    item_id: str
    title: str | None
    timestamp: int


class UserResponse(BaseModel):
    """Body of the answer to ``GET /users/{user_id}``.

    ``seen`` and ``event_ids`` are numbers of items and of events whose repetition is recognised, ``shown`` of showings
    of items lately, where lists rotate; ``unreadable`` names damaged values; ``keys`` has the bytes of each value.
    """

    model_config = ConfigDict(extra="forbid")

    request_id: str
    user_id: str
    profile: ProfileBody | None
    history: list[HistoryEventBody]
    seen: int
    event_ids: int
    shown: int
    unreadable: list[str]
    keys: dict[str, int]


class DeletedBody(BaseModel):
    """How many keys of each kind, and how many records of each stream were deleted."""

    model_config = ConfigDict(extra="forbid")

    profiles: int
    history: int
    seen: int
    event_ids: int
    shown: int
    exposures: int
    events: int


class DeletedResponse(BaseModel):
    """Body of the answer to ``DELETE /users/{user_id}``."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    user_id: str
    deleted: DeletedBody
