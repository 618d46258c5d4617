"""``[security]``, ``[admin]`` and ``[http]``: who may call, and what a connection may cost."""

from pathlib import Path

from pydantic import Field

from service.gateway.tables import Table


class SecuritySettings(Table):
    """Where the API keys are. Without a file everybody may call."""

    keys_file: Path | None = None


class AdminSettings(Table):
    """The operators' port. 0: there is none. ``experiment_report``: the file that the console shows."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=0, ge=0, le=65_535)
    experiment_report: Path | None = None


class HttpSettings(Table):
    """What a connection may cost before a request is understood, and how connections end."""

    header_timeout_s: float = Field(default=5.0, gt=0, le=300)
    body_timeout_s: float = Field(default=5.0, gt=0, le=300)
    keep_alive_s: int = Field(default=30, ge=1, le=3_600)
    header_bytes: int = Field(default=16_384, ge=256, le=1_048_576)
    header_count: int = Field(default=64, ge=4, le=1_000)
    drain_s: float = Field(default=1.0, ge=0, le=300)
