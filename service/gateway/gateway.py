"""The parts of one gateway process, built, started and stopped in one place."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.gateway.api.schemas import render_shared
from service.gateway.bundles.follower import SnapshotFollower
from service.gateway.ranking.recommend import Recommender
from service.gateway.respond import Ready, Responder, keeps
from service.gateway.settings import PoolSettings, Settings
from service.gateway.store.exposures import ExposureLog
from service.gateway.store.redis_store import RedisStore
from service.gateway.telemetry import Telemetry
from service.gateway.traffic.control import TrafficControl, control_traffic
from service.gateway.traffic.warmup import warm_up
from service.periodic import cancel_all, every
from service.workers.pool import WorkerPool
from service.workers.types import PoolOptions, ReplicaStatus

EXPOSURE_INTERVAL_SECONDS = 0.01


@dataclass
class Gateway:
    """What the routes need."""

    settings: Settings
    telemetry: Telemetry
    store: RedisStore
    pools: list[WorkerPool]
    follower: SnapshotFollower
    responder: Responder
    exposures: ExposureLog
    traffic: TrafficControl[Ready]

    def problems(self) -> list[str]:
        """Why the process is not ready for requests; empty where it is."""
        found = []
        silent_seconds = time.monotonic() - self.store.last_contact
        if silent_seconds > self.settings.redis_grace_s + self.settings.bundle_poll_ms / 1e3:
            found.append(f"redis: no contact for {silent_seconds:.1f} s")
        if self.follower.snapshot is None:
            found.append(f"bundle: {self.follower.refusal or 'none is published'}")
        return found

    def warnings(self) -> list[str]:
        """What is wrong, but does not keep requests from being served."""
        found = (
            [f"bundle: refused: {self.follower.refusal}"] if self.follower.snapshot and self.follower.refusal else []
        )
        statuses = [status for pool in self.pools for status in pool.status()]
        found += [f"pool: {pool.name}: {why}" for pool in self.pools for why in pool.warnings()]
        return found + [f"worker: {s.pool} {s.url}: {why}" for s in statuses for why in self._troubles(s)]

    def _troubles(self, replica: ReplicaStatus) -> list[str]:
        """Why requests do not ask a replica, or some of its adapters; empty where they do."""
        in_service = self.follower.snapshot
        if replica.reason:
            return [replica.reason, *replica.refused]
        if in_service is None or in_service.id in replica.bundles:
            return list(replica.refused)
        return [f"serves {', '.join(replica.bundles)}, in service is {in_service.id}", *replica.refused]


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Build a gateway, run its background loops, and close everything at the end."""
    gateway = _build(settings)
    loops = [
        asyncio.create_task(every(settings.bundle_poll_ms / 1e3, gateway.follower.follow)),
        asyncio.create_task(every(EXPOSURE_INTERVAL_SECONDS, gateway.exposures.write_batch)),
        asyncio.create_task(every(0, gateway.traffic.admission.beat)),
    ]
    try:
        yield gateway
    finally:
        await cancel_all(loops)
        await gateway.traffic.cache.close()
        await gateway.follower.close()
        await gateway.exposures.flush()
        for pool in gateway.pools:
            await pool.close()
        await gateway.store.close()


def _build(settings: Settings) -> Gateway:
    telemetry = Telemetry()
    store = RedisStore(settings.redis_url, settings.redis_timeout_ms / 1e3)
    pools = {pool.name: WorkerPool(_options(pool, settings), telemetry) for pool in settings.pools}
    recommender = Recommender(pools)
    follower = SnapshotFollower(
        store,
        list(pools.values()),
        settings.bundle_root,
        settings.bundle_wait_s,
        telemetry.bundle_changed,
        lambda snapshot: warm_up(recommender, settings.pipelines.values(), snapshot),
    )
    exposures = ExposureLog(store, settings.exposures_kept, telemetry.exposures)
    traffic: TrafficControl[Ready] = control_traffic(
        settings.limits, settings.quality, settings.cache, settings.default_deadline_ms / 1e3, keeps, telemetry
    )
    responder = Responder(
        settings, lambda: follower.snapshot, store, recommender, exposures, telemetry, traffic, render_shared
    )
    return Gateway(
        settings=settings,
        telemetry=telemetry,
        store=store,
        pools=list(pools.values()),
        follower=follower,
        responder=responder,
        exposures=exposures,
        traffic=traffic,
    )


def _options(pool: PoolSettings, settings: Settings) -> PoolOptions:
    return PoolOptions(
        name=pool.name,
        urls=pool.urls,
        # Workers read adapters from their own disk: a relative path would mean another place there.
        bundle_root=pool.bundle_root or settings.bundle_root.resolve(),
        kind=pool.kind,
        slots=pool.slots,
        in_flight_limit=pool.in_flight_limit,
        probe_interval_seconds=pool.probe_interval_ms / 1e3,
        failures_to_open=pool.failures_to_open,
        cooldown_seconds=pool.cooldown_ms / 1e3,
        drain_seconds=pool.drain_ms / 1e3,
        hedge=pool.hedge,
    )
