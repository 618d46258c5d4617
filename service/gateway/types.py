"""The shapes of the gateway. This file is its architecture.

:class:`Query` → :class:`StateStore` → user → plan → :class:`Workers` → fusion → fill → :class:`Answer`
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np

from models.contract.selection import Selection, Voter
from models.contract.types import Array, ItemId, Profile
from service.workers.types import Completion, Outcome


@dataclass(frozen=True, slots=True)
class Query:
    """A validated request. ``history`` is oldest first and replaces the stored one; None where that one counts."""

    user_id: str
    n: int = 10
    history: tuple[str, ...] | None = None
    exclude_items: tuple[str, ...] = ()
    exclude_seen: bool = True
    explain: bool = False


NO_HASHES: Array = np.empty(0, np.uint64)
NO_HASHES.flags.writeable = False  # shared by all who have seen nothing


@dataclass(frozen=True, slots=True)
class UserState:
    """What Redis holds of a user. ``seen`` is (n,) uint64 item hashes; ``unreadable`` names damaged values."""

    profile: Profile | None = None
    history: tuple[ItemId, ...] = ()
    seen: Array = field(default_factory=lambda: NO_HASHES)
    unreadable: tuple[str, ...] = ()


class StateUnavailableError(Exception):
    """The store did not answer, or not in time."""


class StateStore(Protocol):
    """Where users' state lives."""

    async def read(self, user_id: str, bundle_id: str, deadline: float) -> UserState:
        """A user's state in one round trip. Raises StateUnavailableError."""
        ...


class Workers(Protocol):
    """A pool of language model workers."""

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], completion: Completion, deadline: float
    ) -> list[Outcome]:
        """Ask adapters of a bundle at once; their outcomes in the same order.

        Ends at ``deadline`` (instant on the loop's clock) at the latest, and never raises. Cancelling it cancels the
        calls.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that the caller should know: a short code, a detail, and whether the answer is the worse for it."""

    code: str
    detail: str = ""
    degrades: bool = False

    def __str__(self) -> str:
        return f"{self.code}:{self.detail}" if self.detail else self.code


@dataclass(frozen=True, slots=True)
class Vote:
    """One voter's part in an item's place: its rank there, and the addend to the fused score."""

    voter: Voter
    rank: int
    contribution: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """The variant of each experiment, and the pipeline that follows. ``variant`` decided it, or is empty."""

    pipeline: str
    experiments: Mapping[str, str]
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The served list and everything that is said about it. ``votes`` is by item number, filled where asked for."""

    assignment: Assignment
    selection: Selection
    votes: Mapping[int, tuple[Vote, ...]]
    reasons: tuple[Reason, ...]
    calls_asked: int
    calls_answered: int

    @property
    def degraded(self) -> bool:
        return any(reason.degrades for reason in self.reasons)


class Trace:
    """Seconds of each stage of one request, also of the one in which it failed."""

    __slots__ = ("_name", "_started", "seconds")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name = ""
        self._started = 0.0

    def stage(self, name: str) -> "Trace":
        """Context manager that times one stage. Stages do not nest."""
        self._name = name
        return self

    def note(self, name: str, seconds: float) -> None:
        """Add a length that was measured elsewhere."""
        self.seconds[name] = seconds

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.seconds[self._name] = time.perf_counter() - self._started
