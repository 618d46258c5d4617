"""When a call is tried again. A small state machine; the clock is the caller's."""

import random
from dataclasses import dataclass

from localrec.client.errors import ApiError, ClientError, TimeoutExceededError, UnreachableError

RETRIED_STATUS = frozenset({429, 502, 503})  # whoever says so has done nothing
FIRST_WAIT_SECONDS = 0.05


@dataclass
class Attempts:
    """The attempts of one call.

    Args:
        retries: attempts after the first.
        deadline: instant at which the call is over, whatever comes of it.
    """

    retries: int
    deadline: float
    made: int = 0

    def remaining_seconds(self, now: float) -> float:
        """How long the next attempt may take. Raises TimeoutExceededError where nothing is left."""
        if now >= self.deadline:
            raise TimeoutExceededError("no answer in time")
        return self.deadline - now

    def wait_seconds(self, failure: ClientError, now: float) -> float:
        """How long to wait before the next attempt. Raises ``failure`` where there is none.

        Waits double, half of each by chance, so that clients do not come back all at once. A service that names a time
        is left alone for as long; where that is beyond the deadline, the failure counts now.
        """
        asked = failure.retry_after_seconds if isinstance(failure, ApiError) else None
        wait: float = FIRST_WAIT_SECONDS * 2**self.made * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        wait = max(wait, asked or 0.0)
        self.made += 1
        if self.made > self.retries or not _may_pass(failure) or now + wait >= self.deadline:
            raise failure
        return wait


def _may_pass(failure: ClientError) -> bool:
    if isinstance(failure, ApiError):
        return failure.status in RETRIED_STATUS
    return isinstance(failure, UnreachableError)
