"""The parts of one gateway process, built, started and stopped in one place."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.gateway.api.render import render_shared
from service.gateway.bundles.follower import SnapshotFollower
from service.gateway.experiments.assignment import Experiments
from service.gateway.experiments.file import ExperimentsFollower, ExperimentsLoader
from service.gateway.experiments.shadow import Shadows
from service.gateway.logs.requests import RequestLog
from service.gateway.processes.scrape import Scrape
from service.gateway.processes.slot import Slot
from service.gateway.ranking.recommend import Recommender
from service.gateway.ranking.settings import needs
from service.gateway.respond import Ready, Responder, keeps
from service.gateway.security.access import Access
from service.gateway.security.keys_file import KeysFile, load_keyring
from service.gateway.settings import PoolSettings, Settings
from service.gateway.stop import Stop
from service.gateway.store.availability import AvailabilityFollower
from service.gateway.store.events import EventLog
from service.gateway.store.exposures import ExposureLog
from service.gateway.store.operations import Operations
from service.gateway.store.redis_store import RedisStore
from service.gateway.store.usage import USAGE_INTERVAL_SECONDS, UsageFollower
from service.gateway.store.users import UserStore
from service.gateway.telemetry import Telemetry
from service.gateway.traffic.control import TrafficControl, control_traffic
from service.gateway.traffic.warmup import warm_up
from service.gateway.trial import Trials
from service.gateway.types import FULL_EFFORT
from service.periodic import cancel_all, every
from service.tracing import Tracing
from service.workers.pool import WorkerPool
from service.workers.types import PoolOptions, ReplicaStatus

logger = logging.getLogger(__name__)

EXPOSURE_INTERVAL_SECONDS = 0.01
KEYS_INTERVAL_SECONDS = 1.0


@dataclass
class Gateway:
    """What the routes need."""

    settings: Settings
    stop: Stop
    telemetry: Telemetry
    requests: RequestLog
    scrape: Scrape
    store: RedisStore
    pools: list[WorkerPool]
    follower: SnapshotFollower
    availability: AvailabilityFollower
    experiments: ExperimentsFollower
    shadows: Shadows
    responder: Responder
    exposures: ExposureLog
    events: EventLog
    users: UserStore
    operations: Operations
    access: Access
    keys_file: KeysFile | None
    traffic: TrafficControl[Ready]
    trials: Trials

    def problems(self) -> list[str]:
        """Why the process is not ready for requests; empty where it is."""
        found = ["process: was told to stop"] if self.stop.asked else []
        if not self.hears_redis():
            found.append(f"redis: no contact for {time.monotonic() - self.store.last_contact:.1f} s")
        if self.follower.snapshot is None:
            found.append(f"bundle: {self.follower.refusal or 'none is published'}")
        return found

    def hears_redis(self) -> bool:
        """Whether Redis answered of late."""
        silent_seconds = time.monotonic() - self.store.last_contact
        return silent_seconds <= self.settings.redis_grace_s + self.settings.bundle_poll_ms / 1e3

    def warnings(self) -> list[str]:
        """What is wrong, but does not keep requests from being served."""
        found = (
            [f"bundle: refused: {self.follower.refusal}"] if self.follower.snapshot and self.follower.refusal else []
        )
        found += [f"bundle: refused: {why}" for why in self.follower.canaries.refused.values()]
        if self.experiments.refusal:
            found.append(f"experiments: refused: {self.experiments.refusal}")
        found += self._key_warnings()
        statuses = [status for pool in self.pools for status in pool.status()]
        found += [f"pool: {pool.name}: {why}" for pool in self.pools for why in pool.warnings()]
        return found + [f"worker: {s.pool} {s.url}: {why}" for s in statuses for why in self._troubles(s)]

    def _key_warnings(self) -> list[str]:
        return [f"security: {self.keys_file.problem}"] if self.keys_file and self.keys_file.problem else []

    def _troubles(self, replica: ReplicaStatus) -> list[str]:
        """Why requests do not ask a replica, or some of its adapters; empty where they do."""
        in_service = self.follower.snapshot
        if replica.reason:
            return [replica.reason, *replica.refused]
        if in_service is None or in_service.id in replica.bundles:
            return list(replica.refused)
        return [f"serves {', '.join(replica.bundles)}, in service is {in_service.id}", *replica.refused]


@asynccontextmanager
async def running_gateway(
    settings: Settings,
    loader: ExperimentsLoader,
    experiments: Experiments,
    stop: Stop,
    slot: Slot | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Gateway]:
    """Build a gateway, run its background loops, and close everything at the end."""
    gateway = _build(settings, loader, experiments, stop, slot, tracing)
    gateway.telemetry.watch_health(lambda: not gateway.problems(), gateway.hears_redis)
    redis = gateway.telemetry.redis
    usage = UsageFollower(gateway.store, redis.usage, redis.usage_unknown)
    loops = [
        asyncio.create_task(every(settings.bundle_poll_ms / 1e3, gateway.follower.follow)),
        asyncio.create_task(every(settings.bundle_poll_ms / 1e3, gateway.availability.follow)),
        asyncio.create_task(every(EXPOSURE_INTERVAL_SECONDS, gateway.exposures.write_batch)),
        asyncio.create_task(every(0, gateway.traffic.admission.beat)),
        asyncio.create_task(every(USAGE_INTERVAL_SECONDS, usage.look)),
    ]
    if settings.experiments_file:
        poll = every(settings.experiments_poll_ms / 1e3, gateway.experiments.follow)
        loops.append(asyncio.create_task(poll))
    if gateway.keys_file is not None:
        loops.append(asyncio.create_task(every(KEYS_INTERVAL_SECONDS, gateway.keys_file.look)))
    try:
        async with gateway.scrape.answering():
            yield gateway
    finally:
        await cancel_all(loops)
        await gateway.traffic.cache.close()
        await gateway.follower.close()
        await gateway.shadows.close()
        await gateway.exposures.flush()
        for pool in gateway.pools:
            await pool.close()
        await gateway.store.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)


def _build(
    settings: Settings,
    loader: ExperimentsLoader,
    first: Experiments,
    stop: Stop,
    slot: Slot | None,
    tracing: Tracing | None,
) -> Gateway:
    telemetry = Telemetry()
    access, keys_file = _access(settings.security.keys_file, telemetry)  # may raise: before anything is open
    store = RedisStore(settings.redis_url, settings.redis_timeout_ms / 1e3, telemetry.redis.asked)
    pools = {pool.name: WorkerPool(_options(pool, settings), telemetry.pools, tracing) for pool in settings.pools}
    for pool in pools.values():
        telemetry.pools.watch(pool.name, pool.in_flight)
    operations = Operations(store)
    availability = AvailabilityFollower(operations, telemetry.items_hidden)
    recommender = Recommender(pools)
    experiments = ExperimentsFollower(loader, first, telemetry.experiments_changed)
    follower = SnapshotFollower(
        store,
        list(pools.values()),
        settings.bundle_root,
        settings.bundle_wait_s,
        telemetry.bundle_changed,
        lambda snapshot: warm_up(recommender, settings.pipelines.values(), snapshot),
        lambda: experiments.current.bundles,
        needs(settings.pipelines),
    )
    exposures = ExposureLog(store, settings.exposures_kept, telemetry.exposures, settings.rotating())
    traffic: TrafficControl[Ready] = control_traffic(
        settings.limits, settings.quality, settings.cache, settings.default_deadline_ms / 1e3, keeps, telemetry
    )
    shadows = Shadows(
        recommender,
        exposures.put,
        telemetry.shadow_ended,
        settings.default_deadline_ms,
        lambda: experiments.current.file.shadow_limit,
        lambda: traffic.quality.effort() != FULL_EFFORT,
    )
    responder = Responder(
        settings,
        follower.serving,
        lambda: experiments.current,
        lambda: availability.hidden,
        store,
        recommender,
        exposures,
        shadows,
        telemetry,
        traffic,
        render_shared,
    )
    return Gateway(
        settings=settings,
        stop=stop,
        telemetry=telemetry,
        requests=RequestLog(telemetry, settings.logging.sample, tracing),
        scrape=Scrape(telemetry, slot),
        store=store,
        pools=list(pools.values()),
        follower=follower,
        availability=availability,
        experiments=experiments,
        shadows=shadows,
        responder=responder,
        exposures=exposures,
        events=EventLog(store, settings.events, telemetry.events),
        users=UserStore(store, settings.default_deadline_ms / 1e3),
        operations=operations,
        access=access,
        keys_file=keys_file,
        traffic=traffic,
        trials=Trials(settings, follower.loaded, lambda: availability.hidden, store, recommender),
    )


def _access(path: Path | None, telemetry: Telemetry) -> tuple[Access, KeysFile | None]:
    if path is None:
        logger.warning("security.keys_file is not set: everybody may call")
        return Access(None, telemetry.access), None
    access = Access(load_keyring(path), telemetry.access)
    return access, KeysFile(path, access)


def _options(pool: PoolSettings, settings: Settings) -> PoolOptions:
    return PoolOptions(
        name=pool.name,
        urls=pool.urls,
        # Workers read adapters from their own disk: a relative path would mean another place there.
        bundle_root=pool.bundle_root or settings.bundle_root.resolve(),
        kind=pool.kind,
        part=pool.model,
        slots=pool.slots,
        in_flight_limit=pool.in_flight_limit,
        probe_interval_seconds=pool.probe_interval_ms / 1e3,
        failures_to_open=pool.failures_to_open,
        cooldown_seconds=pool.cooldown_ms / 1e3,
        drain_seconds=pool.drain_ms / 1e3,
        hedge=pool.hedge,
    )
