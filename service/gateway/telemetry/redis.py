"""Metrics of Redis as the gateway sees it: round trips, and what Redis says of its memory."""

import math

from service.gateway.store.usage import RedisUsage
from service.gateway.telemetry.series import LATENCY_BUCKETS, Series


class RedisTelemetry:
    """Round trips by what was asked, failed ones too; memory and clients, not a number while Redis does not say.

    Args:
        series: makes the metrics.
    """

    def __init__(self, series: Series) -> None:
        self._round_trips = series.distribution(
            "redis_seconds", "Round trips to Redis by what was asked", ("command", "outcome"), LATENCY_BUCKETS
        )
        self._used = series.gauge("redis_memory_used_bytes", "Memory that Redis uses")
        self._limit = series.gauge(
            "redis_memory_limit_bytes", "maxmemory of Redis, or its machine's memory where it has none"
        )
        self._clients = series.gauge("redis_clients", "Connections to Redis")
        self.usage_unknown()

    def asked(self, command: str, outcome: str, seconds: float) -> None:
        """See :data:`service.gateway.store.redis_store.Observer`."""
        self._round_trips.observe((command, outcome), seconds)

    def usage(self, usage: RedisUsage) -> None:
        """Redis said how it is."""
        self._used.set(usage.memory_bytes)
        self._limit.set(usage.memory_limit_bytes)
        self._clients.set(usage.clients)

    def usage_unknown(self) -> None:
        """Redis did not say."""
        for gauge in (self._used, self._limit, self._clients):
            gauge.set(math.nan)
