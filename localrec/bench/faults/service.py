"""The service under test: Redis, an engine and two gateways as processes, and what can be done to them."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localrec.bench.faults.part import Part
from localrec.bench.faults.proxy import Proxy
from localrec.bench.faults.tally import Seen
from localrec.bench.synthetic import SyntheticUsers, write_users
from localrec.pointing import connect
from localrec.processes import free_port
from localrec.redis_server import redis_process, socket_url
from localrec.stack import gateway_environment, running_gateway, running_worker
from models import pointer
from models.contract.bundle import Bundle
from models.contract.errors import LocalRecError


@dataclass(frozen=True)
class Fault:
    """What is done to the service.

    Args:
        name: of it.
        begin, end: do it, and undo it; both block. Without an end it is done at once, and not waited for.
        shows_recovery: whether a request's end shows that all is well again.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None] | None = None
    shows_recovery: Callable[[Seen], bool] = lambda seen: seen.end == "right"


@dataclass(frozen=True)
class Service:
    """Where the parts are. The second gateway's worker calls go through ``proxy``, which listens on ``proxy_port``."""

    bundles: tuple[Bundle, Bundle]
    directory: Path
    redis: Part
    engine: Part
    gateway: Part
    successor: Part
    proxy: Proxy
    ports: list[int]
    proxy_port: int
    processes: ExitStack = field(repr=False)

    def faults(self, late_seconds: float) -> list[Fault]:
        """All that is done to it, in turn.

        Args:
            late_seconds: what a slow engine takes: more than a request can wait.
        """
        first, second = self.bundles
        return [
            Fault("Redis killed", self.redis.kill, self.redis.start),
            Fault("Redis stopped", self.redis.freeze, self.redis.thaw),
            Fault("engine killed", self.engine.kill, self.engine.start),
            Fault("engine stopped", self.engine.freeze, self.engine.thaw),
            Fault("bundle switch", lambda: self._activate(second), None, lambda seen: _is_from(seen, second)),
            Fault("bundle rollback", self._roll_back, None, lambda seen: _is_from(seen, first)),
            Fault("gateway SIGTERM", self._hand_over, None, lambda seen: seen.port == self.ports[1]),
            Fault("engine slow", lambda: self._slow(late_seconds), lambda: self._slow(0.0)),
            Fault("engine says garbage", lambda: self._babble(True), lambda: self._babble(False)),
        ]

    def _activate(self, bundle: Bundle) -> None:
        with connect(socket_url(self.directory)) as redis:
            pointer.activate(bundle.id, redis)

    def _roll_back(self) -> None:
        with connect(socket_url(self.directory)) as redis:
            pointer.rollback(redis)

    def _hand_over(self) -> None:
        """As a rolling update does it: the next gateway is ready before the last one is told to stop."""
        self.processes.enter_context(self.successor)
        exit_code = self.gateway.retire()
        if exit_code != 0:
            raise LocalRecError(f"the gateway ended with exit code {exit_code} after SIGTERM; expected 0")

    def _slow(self, seconds: float) -> None:
        self.proxy.delay_seconds = seconds

    def _babble(self, garbage: bool) -> None:
        self.proxy.garbage = garbage


@contextmanager
def running_service(bundles: tuple[Bundle, Bundle], users: SyntheticUsers, directory: Path) -> Iterator[Service]:
    """Redis that keeps its data, the first bundle served by an engine, and one of two gateways."""
    worker_port, proxy_port, ports = free_port(), free_port(), [free_port(), free_port()]

    def gateway(port: int, worker: int) -> Callable[[], AbstractContextManager["subprocess.Popen[bytes]"]]:
        environment = gateway_environment(bundles[0], socket_url(directory), {"local": (worker, "engine")})
        return lambda: running_gateway(port, environment, directory / f"gateway-{port}.log")

    with ExitStack() as processes:
        redis = processes.enter_context(Part(lambda: redis_process(directory, keep=True)))
        with connect(socket_url(directory)) as client:
            for bundle in bundles:
                write_users(client, bundle, users)
            pointer.activate(bundles[0].id, client)
        engine = processes.enter_context(Part(lambda: running_worker(bundles[0], directory, "engine", worker_port)))
        yield Service(
            bundles=bundles,
            directory=directory,
            redis=redis,
            engine=engine,
            gateway=processes.enter_context(Part(gateway(ports[0], worker_port))),
            successor=Part(gateway(ports[1], proxy_port)),
            proxy=Proxy(f"http://127.0.0.1:{worker_port}"),
            ports=ports,
            proxy_port=proxy_port,
            processes=processes,
        )


def _is_from(seen: Seen, bundle: Bundle) -> bool:
    return seen.end == "right" and seen.bundle_id == bundle.id
