"""``[logging]``: how the gateway's log is written, and how much of it."""

from typing import Literal

from pydantic import Field

from service.gateway.tables import Table

LogFormat = Literal["json", "text"]


class LoggingSettings(Table):
    """The log on standard error. Without a format: text on a terminal, JSON elsewhere."""

    format: LogFormat | None = None
    sample: float = Field(default=0.01, ge=0, le=1)
