"""``[events]``: what is kept of that which users do."""

from typing import get_args

from pydantic import Field

from models.contract.records import EventType
from service.gateway.tables import Table

ALL_TYPES: tuple[EventType, ...] = get_args(EventType)


class EventSettings(Table):
    """What an event changes, and how much is kept."""

    history: tuple[EventType, ...] = ALL_TYPES
    seen: tuple[EventType, ...] = ALL_TYPES
    min_rating: float = Field(default=0.0, allow_inf_nan=False)
    history_kept: int = Field(default=200, ge=1, le=1_000)
    seen_kept: int = Field(default=10_000, ge=1, le=100_000)
    stream_kept: int = Field(default=500_000, ge=0, le=100_000_000)

    def enters_history(self, kind: EventType, value: float | None) -> bool:
        """Whether an event is what models read: a rating below ``min_rating`` is not."""
        return kind in self.history and not (kind == "rating" and value is not None and value < self.min_rating)
