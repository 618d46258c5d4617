"""The shapes of the gateway. This file is its architecture.

the caller's :class:`Query` → :class:`StateStore` → user → plan → :class:`Workers` → fusion → fill → :class:`Answer`
"""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

import numpy as np

from models.contract.redis_schema import SHOWN
from models.contract.selection import Ballot, Selection, Voter
from models.contract.types import Array, ItemId, Profile
from service.gateway.explanation import Explanation, Placement
from service.gateway.ranking.settings import Pipeline
from service.workers.types import Inquiry, Outcome

Scalar = str | float | bool
STRING_BYTES = 57  # of an empty string in a tuple


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
        diversity: from 0, the order of the models, to 1, items as different from each other as can be. None: the
            pipeline's.
        max_per: how many items of one value of an attribute are shown at most, by the attribute's name. None: the
            pipeline's.
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
    diversity: float | None = None
    max_per: Mapping[str, int] | None = None
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
            None if self.max_per is None else tuple(sorted(self.max_per.items())),
            self.explain,
        )

    def size(self) -> int:
        """About how many bytes its ids and values take."""
        lists = [self.history, self.exclude_items, self.candidates]
        lists += [values for wanted in self.filters.values() for values in (wanted.any_of, wanted.none_of)]
        return sum(len(name) + STRING_BYTES for names in lists if names for name in names)


def _name(pair: tuple[str, AttributeFilter]) -> str:
    return pair[0]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as that changes the answer.

    Args:
        key: name of the API key; empty where none is needed.
        deadline_ms: length of the deadline of requests that name none; None: the service's default.
        batch: whether the request may be turned away before those of people who wait.
        variants: what the request asks to be assigned, for testing: ``experiment=variant, …``; empty: nothing.
    """

    key: str = ""
    deadline_ms: int | None = None
    batch: bool = False
    variants: str = ""


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
NO_SHOWN: Array = np.empty(0, SHOWN)
NO_SHOWN.flags.writeable = False


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user's values as they lie in Redis. What they decode to: :func:`service.gateway.store.decoding.decode_user`.

    ``shown`` is read only where lists rotate.
    """

    profile: bytes | None = None
    history: bytes | None = None
    seen: bytes | None = None
    shown: bytes | None = None

    def version(self) -> int:
        """Changes with every value. Means nothing outside of this process."""
        return hash((self.profile, self.history, self.seen, self.shown))


@dataclass(frozen=True, slots=True)
class UserState:
    """A user's values, decoded.

    Args:
        profile: as published.
        history: item ids, oldest first.
        seen: (n,) uint64 item hashes.
        shown: (m,) of :data:`models.contract.redis_schema.SHOWN`, what was shown lately.
        unreadable: names of the damaged values.
        changed: whether the history is no longer the one that the profile was made from.
    """

    profile: Profile | None = None
    history: tuple[ItemId, ...] = ()
    seen: Array = field(default_factory=lambda: NO_HASHES)
    shown: Array = field(default_factory=lambda: NO_SHOWN)
    unreadable: tuple[str, ...] = ()
    changed: bool = False


class StateUnavailableError(Exception):
    """The store did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store said of a user, or why it said nothing; and ``hidden``, ids of items that nobody is shown."""

    stored: StoredUser
    reasons: tuple["Reason", ...] = ()
    hidden: frozenset[str] = frozenset()


class StateStore(Protocol):
    """Where users' state lives."""

    async def read(self, user_id: str, bundle_id: str, deadline: float, with_shown: bool = False) -> StoredUser:
        """A user's values in one round trip, ``with_shown`` what was shown too. Raises StateUnavailableError."""
        ...


class Workers(Protocol):
    """A pool of language model workers."""

    async def fan_out(
        self, bundle_id: str, adapters: Sequence[str], inquiry: Inquiry, deadline: float
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


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The variant of each experiment, and what follows from them.

    One object for all users of the same variants of one file, and equal to no other: good as a key.

    Args:
        pipeline: name of the pipeline.
        settings: the pipeline with the parameters of all variants.
        experiments: the variant of each experiment that the user is in.
        variant: label of the variant that decided, ``<experiment>:<variant>``; empty where none did.
        bundle: id of the bundle that a variant wants its users to be served from; None: the one in service.
        deadline_ms: length of the deadline of requests that name none; None: no variant says.
        forced: whether a variant was asked for or set by an allowlist, not drawn.
        reasons: what the caller should know of the assignment.
    """

    pipeline: str
    settings: Pipeline
    experiments: Mapping[str, str]
    variant: str = ""
    bundle: str | None = None
    deadline_ms: int | None = None
    forced: bool = False
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A list and everything that is said about it.

    Where an explanation was asked for, ``votes`` is by item number, ``placements`` by place in the list.
    ``ballots`` are what was fused.
    """

    selection: Selection
    votes: Mapping[int, tuple[Vote, ...]]
    reasons: tuple[Reason, ...]
    calls_asked: int
    calls_answered: int
    placements: tuple[Placement, ...] = ()
    explanation: Explanation | None = None
    ballots: tuple[Ballot, ...] = ()

    @property
    def degraded(self) -> bool:
        return any(reason.degrades for reason in self.reasons)


class Trace:
    """Seconds of each stage of one request, also of the one in which it failed.

    ``patience_seconds`` is from when the trace was made, at the request's head, to its deadline. This is known once the
    body is there; infinite before.
    """

    __slots__ = ("_made", "_name", "_started", "began", "patience_seconds", "seconds", "straggled")

    def __init__(self) -> None:
        self._made = time.perf_counter()
        self.patience_seconds = math.inf
        self.seconds: dict[str, float] = {}
        self.began: dict[str, float] = {}  # instants of ``time.perf_counter``, of the stages that are timed here
        self.straggled = 0.0  # what the request waited for the slower half of its calls
        self._name = ""
        self._started = 0.0

    def due_in(self, seconds: float) -> None:
        """The deadline is so far from now."""
        self.patience_seconds = time.perf_counter() - self._made + seconds

    def stage(self, name: str) -> "Trace":
        """Context manager that times one stage. Stages do not nest."""
        self._name = name
        return self

    def note(self, name: str, seconds: float) -> None:
        """Add a length that was measured elsewhere."""
        self.seconds[name] = seconds

    def __enter__(self) -> None:
        self._started = self.began[self._name] = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.seconds[self._name] = time.perf_counter() - self._started
