"""When a request waited and when its batch ran, for those who want to know."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Timing:
    """Instants in seconds of ``time.perf_counter``; 0 where it did not come so far."""

    queued: float = 0.0
    started: float = 0.0
    ended: float = 0.0


wanted: ContextVar[Timing | None] = ContextVar("timing", default=None)
"""What the request at hand fills in; None: nobody wants to know."""
