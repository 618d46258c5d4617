"""The shapes of the gateway. This file is its architecture.

the caller's :class:`Query` → :class:`StateStore` → user → plan → :class:`Workers` → fusion → fill → :class:`Answer`
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np

from models.contract.selection import Selection, Voter
from models.contract.types import Array, ItemId, Profile
from service.workers.types import Completion, Outcome

Scalar = str | float | bool


@dataclass(frozen=True, slots=True)
class AttributeFilter:
    """What an item's attribute must be: one of ``any_of``, none of ``none_of``, a number within the bounds."""

    any_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A validated request.

    Args:
        user_id: whose list it is.
        n: items wanted.
        history: item ids, oldest first; replaces the stored one. None: the stored one counts.
        context: what the caller says of the situation, for the exposure log.
        exclude_items: item ids that must not be shown.
        exclude_seen: whether what the user has seen is left out.
        candidates: rank only these item ids. None: the whole catalogue.
        filters: what an item must be like, by the name of the attribute.
        strict_filters: whether rather too few items are shown than popular ones that pass the filters.
        diversity: from 0, the order of the models, to 1, items as different from each other as can be.
        max_per: how many items of one value of an attribute are shown at most, by the attribute's name.
        explain: whether the answer says how it came about.
        use_cache: whether an answer of a moment ago will do.
        deadline_ms: length of the deadline; None: what the variant, the caller's key or the settings say.
    """

    user_id: str
    n: int = 10
    history: tuple[str, ...] | None = None
    context: Mapping[str, Scalar] = field(default_factory=dict)
    exclude_items: tuple[str, ...] = ()
    exclude_seen: bool = True
    candidates: tuple[str, ...] | None = None
    filters: Mapping[str, AttributeFilter] = field(default_factory=dict)
    strict_filters: bool = True
    diversity: float = 0.0
    max_per: Mapping[str, int] = field(default_factory=dict)
    explain: bool = False
    use_cache: bool = True
    deadline_ms: int | None = None

    def shape(self) -> Hashable:
        """What the answer depends on beside the stored user: equal for queries that ask for the same list."""
        return (
            self.user_id,
            self.n,
            self.history,
            self.exclude_items,
            self.exclude_seen,
            self.candidates,
            tuple(sorted(self.filters.items(), key=_name)) if self.filters else (),
            self.strict_filters,
            self.diversity,
            tuple(sorted(self.max_per.items())) if self.max_per else (),
            self.explain,
        )


def _name(pair: tuple[str, AttributeFilter]) -> str:
    return pair[0]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as that changes the answer.

    Args:
        key: name of the API key; empty where none is needed.
        deadline_ms: length of the deadline of requests that name none; None: the service's default.
        batch: whether the request may be turned away before those of people who wait.
        variants: variants by experiment that the request asks for, for testing.
    """

    key: str = ""
    deadline_ms: int | None = None
    batch: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effort:
    """What a request may cost; less than all of it under pressure.

    Args:
        width: share of the user's communities that are asked, the nearest first; at least one is.
        candidates: share of the items that each voter is asked for.
        models: whether workers are asked at all.
    """

    width: float = 1.0
    candidates: float = 1.0
    models: bool = True


FULL_EFFORT = Effort()


NO_HASHES: Array = np.empty(0, np.uint64)
NO_HASHES.flags.writeable = False  # shared by all who have seen nothing


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user's values as they lie in Redis. What they decode to: :func:`service.gateway.store.decoding.decode_user`."""

    profile: bytes | None = None
    history: bytes | None = None
    seen: bytes | None = None

    def version(self) -> int:
        """Changes with every value. Means nothing outside of this process."""
        return hash((self.profile, self.history, self.seen))


@dataclass(frozen=True, slots=True)
class UserState:
    """A user's values, decoded. ``seen`` is (n,) uint64 item hashes; ``unreadable`` names damaged values."""

    profile: Profile | None = None
    history: tuple[ItemId, ...] = ()
    seen: Array = field(default_factory=lambda: NO_HASHES)
    unreadable: tuple[str, ...] = ()


class StateUnavailableError(Exception):
    """The store did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store said of a user, or why it said nothing."""

    stored: StoredUser
    reasons: tuple["Reason", ...] = ()


class StateStore(Protocol):
    """Where users' state lives."""

    async def read(self, user_id: str, bundle_id: str, deadline: float) -> StoredUser:
        """A user's values in one round trip. Raises StateUnavailableError."""
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
    """A list and everything that is said about it. ``votes`` is by item number, filled where asked for."""

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

    __slots__ = ("_name", "_started", "seconds", "straggled")

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.straggled = 0.0  # what the request waited for the slower half of its calls
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
