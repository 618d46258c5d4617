"""What keeps a gateway quick under load, built in one place."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.gateway.telemetry import Telemetry
from service.gateway.traffic.admission import Admission, Priority
from service.gateway.traffic.cache import AnswerCache
from service.gateway.traffic.entries import Entries
from service.gateway.traffic.limiter import GradientLimit
from service.gateway.traffic.quality import QualityFactor
from service.gateway.traffic.settings import CacheSettings, LimitSettings, QualitySettings

V = TypeVar("V")


@dataclass(frozen=True)
class TrafficControl(Generic[V]):
    """Who is let in, what a request may cost, and answers of a moment ago; ``caches`` says whether those are on."""

    admission: Admission
    quality: QualityFactor
    cache: AnswerCache[V]
    caches: bool


def control_traffic(
    limits: LimitSettings,
    quality: QualitySettings,
    cache: CacheSettings,
    deadline_seconds: float,
    keeps: Callable[[V], bool],
    telemetry: Telemetry,
) -> TrafficControl[V]:
    """Build it inside a running event loop.

    Args:
        limits, quality, cache: their settings.
        deadline_seconds: of a usual request.
        keeps: whether an answer is good enough for the cache.
        telemetry: shows what they do.
    """
    clock = asyncio.get_running_loop().time
    factor = QualityFactor(quality, clock)

    def shed(priority: Priority) -> None:
        telemetry.shed(priority)
        if priority is Priority.INTERACTIVE:
            factor.turned_away()

    admission = Admission(GradientLimit(limits, deadline_seconds), limits.batch_share, shed)
    entries: Entries[V] = Entries(cache, clock, random.random)
    telemetry.watch_traffic(
        in_flight=lambda: admission.in_flight,
        limit=lambda: admission.limit,
        late_seconds=lambda: admission.late_seconds,
        quality=lambda: factor.value,
    )
    return TrafficControl(admission, factor, AnswerCache(entries, keeps), cache.ttl_ms > 0)
