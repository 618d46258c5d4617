"""``[logging]`` and ``[tracing]``: what the gateway tells of single requests."""

from typing import Literal

from pydantic import Field

from service.gateway.tables import Table

LogFormat = Literal["json", "text"]


class LoggingSettings(Table):
    """The log on standard error. Without a format: text on a terminal, JSON elsewhere."""

    format: LogFormat | None = None
    sample: float = Field(default=0.01, ge=0, le=1)


class TracingSettings(Table):
    """Where traces go. Without an endpoint there are none."""

    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^/@]+/?$")
    sample: float = Field(default=0.01, ge=0, le=1)
