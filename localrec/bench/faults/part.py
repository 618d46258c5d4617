"""A process of the service that can be killed, frozen and started again."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

Start = Callable[[], AbstractContextManager["subprocess.Popen[bytes]"]]


class Part:
    """Runs while the context lasts. Every method blocks until what it does is done.

    Args:
        start: runs the process, and begins when it answers.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.thaw()  # a frozen process would not hear that it has to stop
        self._running.close()

    def start(self) -> None:
        """Start it, again where it was killed."""
        self._running.close()
        self.process = self._running.enter_context(self._start())

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and nothing comes."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def retire(self) -> int:
        """SIGTERM; the exit code, once it has finished what it was doing."""
        self.process.terminate()
        return self.process.wait()
