"""``[limits]``, ``[quality]``, ``[cache]`` and ``[batch]``: how much is taken on, and what is saved under pressure."""

from typing import Self

from pydantic import Field, model_validator

from service.gateway.tables import Table


class LimitSettings(Table):
    """Requests being answered at one time: a limit that finds itself, between two bounds."""

    min: int = Field(default=16, ge=1, le=100_000)
    max: int = Field(default=512, ge=1, le=100_000)
    batch_share: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class QualitySettings(Table):
    """When less is done for a request, so that it is done in time."""

    enabled: bool = True
    percentile: float = Field(default=95, ge=50, le=99.9)
    target: float = Field(default=0.8, gt=0, le=1)


class CacheSettings(Table):
    """How long an answer serves equal requests. ``ttl_ms`` 0: not at all."""

    ttl_ms: int = Field(default=2_000, ge=0, le=3_600_000)
    stale_ms: int = Field(default=2_000, ge=0, le=3_600_000)
    entries: int = Field(default=10_000, ge=1, le=10_000_000)


class BatchSettings(Table):
    """``POST /recommend/batch``."""

    parallel: int = Field(default=8, ge=1, le=100)
    deadline_factor: float = Field(default=4.0, ge=1, le=100)
