"""The supervisor with processes that are small and badly behaved."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Semaphore
from typing import Any

import pytest

from models.contract.errors import ConfigError, LocalRecError
from service.gateway.processes.child import STARTED
from service.gateway.processes.supervisor import Supervisor

_spawn = multiprocessing.get_context("spawn")


def serves(says: Connection, up: Semaphore) -> None:
    says.send(STARTED)
    up.release()
    time.sleep(60)


def ignores_the_end(says: Connection, up: Semaphore) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serves(says, up)


def refuses(says: Connection, _: Semaphore) -> None:
    says.send("limits.min: expected less")
    raise SystemExit(1)


def dies(_: Connection, __: Semaphore) -> None:
    os._exit(7)


def lives_shortly(says: Connection, up: Semaphore) -> None:
    says.send(STARTED)
    up.release()
    time.sleep(0.2)


def ends_well(says: Connection, up: Semaphore) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    serves(says, up)


def run(*targets: Callable[[Connection, Semaphore], None], fails: int = -1, lives: int = 0) -> int:
    """Supervise a process for each target, and ask to stop once all serve, or so many lives have begun.

    The start of number ``fails``, from 0, finds no room for a process. Returns how many did.
    """
    started: list[Any] = []
    starts = count()
    up = _spawn.Semaphore(0)

    def stop() -> None:
        if all(up.acquire(timeout=30) for _ in range(lives or len(targets))):
            os.kill(os.getpid(), signal.SIGTERM)

    def start(number: int, says: Connection) -> Any:
        if next(starts) == fails:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        process = _spawn.Process(target=targets[number], args=(says, up))
        process.start()
        started.append(process)
        return process

    closed: list[bool] = []
    supervisor = Supervisor(start, len(targets), 0.5, lambda: closed.append(True))
    threading.Thread(target=stop, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        supervisor.run()
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
        assert closed == [True]
        assert not any(process.is_alive() for process in started)
    return len(started)


def test_one_that_cannot_start_ends_the_others_with_its_line():
    with pytest.raises(ConfigError, match=r"^limits.min: expected less$"):
        run(ends_well, refuses)


def test_one_that_says_nothing_is_named_with_its_exit_code():
    with pytest.raises(ConfigError, match="gateway process 0 ended with exit code 7"):
        run(dies, ends_well)


def test_one_that_does_not_end_is_killed_and_said():
    with pytest.raises(LocalRecError, match="gateway process 1 ended with exit code -9"):
        run(ends_well, ignores_the_end)


def test_a_machine_without_room_for_a_process_is_named():
    with pytest.raises(ConfigError, match="gateway process 1 cannot be started: Resource temporarily unavailable"):
        run(ends_well, ends_well, fails=1)
    with pytest.raises(ConfigError, match="gateway process 0 cannot be started"):
        run(ends_well, fails=0)


def test_a_machine_that_has_room_again_has_its_process_again():
    assert run(lives_shortly, fails=1, lives=2) == 2
