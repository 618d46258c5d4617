"""Starts several gateway processes on one listening socket, starts anew those that die, and ends them in order."""

import logging
import multiprocessing
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from models.contract.errors import ConfigError, LocalRecError
from service.gateway.logs.records import start_logging
from service.gateway.processes.backoff import Backoff
from service.gateway.processes.child import STARTED, serve_slot
from service.gateway.processes.slot import Slot
from service.gateway.security.settings import AdminSettings
from service.gateway.serve import check
from service.gateway.server import GRACE_SECONDS, bind
from service.gateway.settings import Settings

logger = logging.getLogger(__name__)

LONGEST_PATH = 90  # of a directory for unix sockets: the kernel takes 107 bytes
SPARE_SECONDS = 10.0  # beyond what a process may take to end
_spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that are not there

Start = Callable[[int, Connection], SpawnProcess]


def serve_many(settings: Settings, host: str, port: int, processes: int) -> None:
    """Serve with several processes until a signal asks to stop; each finishes what it has in flight.

    The first of them serves the operators' port. Caches, limits and the rates of keys are each process's own.

    Raises:
        ConfigError: the settings cannot be used, or a process could not start.
        LocalRecError: a process did not end well.
    """
    check(settings, port)
    start_logging(settings.logging.format)
    with tempfile.TemporaryDirectory(prefix="localrec-") as directory, bind(host, port) as listener:
        if len(directory) > LONGEST_PATH:
            raise ConfigError(f"TMPDIR: {directory}: expected a path of at most {LONGEST_PATH} characters, for sockets")
        quiet = settings.model_copy(update={"admin": AdminSettings()})

        def start(number: int, says: Connection) -> SpawnProcess:
            slot = Slot(number, processes, Path(directory))
            arguments = (slot, quiet if number else settings, listener, says)
            process = _spawn.Process(target=serve_slot, args=arguments, name=f"gateway {number}")
            process.start()
            return process

        ending_seconds = settings.http.drain_s + GRACE_SECONDS + SPARE_SECONDS
        Supervisor(start, processes, ending_seconds, listener.close).run()


class _Place:
    """A place, and the process that is in it; None while one is awaited."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: SpawnProcess | None = None
        self.says: Connection | None = None
        self.was_well = False  # a process in it has served
        self.why = ""  # the last one could not start
        self.since = 0.0
        self.due = 0.0
        self.backoff = Backoff()


class Supervisor:
    """Keeps a process in every place.

    Args:
        start: starts the process of a place, which says over the connection that it serves, or why it cannot.
        count: places.
        ending_seconds: a process that takes longer to end is killed.
        stopping: called when the end begins.
    """

    def __init__(self, start: Start, count: int, ending_seconds: float, stopping: Callable[[], None]) -> None:
        self._start = start
        self._places = [_Place(number) for number in range(count)]
        self._ending_seconds = ending_seconds
        self._stopping = stopping
        self._asked = False
        self._killed_at: float | None = None
        self._refusal = ""
        self._failed: list[str] = []

    def run(self) -> None:
        """Until a signal asks to stop and all have ended. Raises LocalRecError, see :func:`serve_many`."""
        with _signals(self._ask) as woken:
            self._act()
            while not (self._asked and all(place.process is None for place in self._places)):
                self._wait(woken)
                self._act()
        if self._refusal:
            raise ConfigError(self._refusal)
        if self._failed:
            raise LocalRecError("; ".join(self._failed))

    def _ask(self) -> None:
        self._asked = True

    def _act(self) -> None:
        """Start what is due; once the end was asked for, see to it instead."""
        for place in self._places:
            if place.process is None and time.monotonic() >= place.due and not self._asked:
                self._begin(place)
        if self._asked:
            self._end()

    def _begin(self, place: _Place) -> None:
        place.since, place.why = time.monotonic(), ""
        try:
            hears, says = _spawn.Pipe(duplex=False)
            with says:
                place.process, place.says = self._start(place.number, says), hears
        except OSError as exc:  # the machine gives no process, or no file, for the moment
            self._lost(place, f"gateway process {place.number} cannot be started: {exc.strerror}")

    def _end(self) -> None:
        processes = [place.process for place in self._places if place.process is not None]
        if self._killed_at is None:
            self._killed_at = time.monotonic() + self._ending_seconds
            self._stopping()
            for process in processes:
                process.terminate()
        elif time.monotonic() >= self._killed_at:
            for process in processes:
                process.kill()

    def _wait(self, woken: socket.socket) -> None:
        """Until something happened or is due, and take note of it."""
        living = [place for place in self._places if place.process is not None]
        due = [place.due for place in self._places if place.process is None and not self._asked]
        due += [self._killed_at] if self._killed_at is not None else []
        timeout = max(min(due) - time.monotonic(), 0.0) if due else None
        sentinels = [place.process.sentinel for place in living if place.process is not None]
        says = [place.says for place in living if place.says is not None]
        happened = wait([woken, *sentinels, *says], timeout)
        if woken in happened:
            woken.recv(4096)
        for place in living:
            if place.says in happened:
                self._listen(place)
            if place.process is not None and place.process.sentinel in happened:
                self._ended(place, place.process)

    def _listen(self, place: _Place) -> None:
        try:
            said = place.says.recv() if place.says is not None else STARTED
        except EOFError:
            pass
        else:
            place.was_well, place.why = place.was_well or said == STARTED, said
        if place.says is not None:
            place.says.close()
            place.says = None

    def _ended(self, place: _Place, process: SpawnProcess) -> None:
        if place.says is not None:
            self._listen(place)
        process.join()
        place.process = None
        why = place.why or f"gateway process {place.number} ended with exit code {process.exitcode}"
        if self._asked:
            # Our own signal ends one that has not come so far that it could be asked.
            self._failed += [] if process.exitcode in {0, -signal.SIGTERM} else [why]
        else:
            self._lost(place, why)

    def _lost(self, place: _Place, why: str) -> None:
        if not place.was_well:
            self._asked, self._refusal = True, why
        else:
            seconds = place.backoff.after(time.monotonic() - place.since)
            place.due = time.monotonic() + seconds
            logger.error("%s; the next one starts in %.1f s", why, seconds)


@contextmanager
def _signals(ask: Callable[[], None]) -> Iterator[socket.socket]:
    """SIGTERM and SIGINT ask to stop while the context lasts; each makes the socket readable."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ask())
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before)
        reader.close()
        writer.close()
