"""Ports and waiting, for tests that start processes."""

import time
from collections.abc import Callable

from localrec.processes import free_port

__all__ = ["free_port", "wait_until"]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0, what: str = "condition") -> None:
    """Poll until ``condition`` holds; raises TimeoutError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
