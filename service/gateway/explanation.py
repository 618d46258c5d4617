"""The nouns of an explanation, as they are sent: where an item was found and what moved it, and what each stage did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Step = Literal["rotation", "diversity", "cap"]


@dataclass(frozen=True, slots=True)
class Move:
    """An item that arranging moved: its rank before, and the steps that changed its rank, in their order."""

    from_rank: int
    by: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """How an item came to its place: its rank in the list of what brought it, and what moved it since."""

    source_rank: int
    moved: Move | None = None


@dataclass(frozen=True, slots=True)
class AskedVoter:
    """An adapter that the plan asks. One that is no community's has no number and no affinity."""

    adapter: str
    name: str
    community: int | None
    affinity: float | None


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A community of the user whose adapter is not asked."""

    adapter: str
    name: str
    community: int
    affinity: float
    why: Literal["max_communities", "quality"]


@dataclass(frozen=True, slots=True)
class FailedCall:
    """An adapter that did not answer, and how that came."""

    adapter: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStage:
    """What is known of the user: a stored profile, one folded in from the history, or nothing."""

    name: Literal["state"] = "state"
    ms: float
    user: Literal["found", "folded_in", "unknown"]
    history: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStage:
    """Whom to ask."""

    name: Literal["plan"] = "plan"
    ms: float
    asked: tuple[AskedVoter, ...]
    not_asked: tuple[NotAsked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOutStage:
    """Who answered."""

    name: Literal["fan_out"] = "fan_out"
    ms: float
    answered: tuple[str, ...]
    failed: tuple[FailedCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseStage:
    """How many lists became one, of how many distinct items."""

    name: Literal["fuse"] = "fuse"
    ms: float
    method: str
    k: float
    lists: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FillStage:
    """How many items each source brought, before they were arranged."""

    name: Literal["fill"] = "fill"
    ms: float
    items: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrangeStage:
    """What was asked of the list, out of how many items it was picked, and how many are not at their rank there."""

    name: Literal["arrange"] = "arrange"
    ms: float
    diversity: float
    max_per: Mapping[str, int]
    discount: float
    pool: int
    moved: int


Stage = StateStage | PlanStage | FanOutStage | FuseStage | FillStage | ArrangeStage


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened at each stage, in order, and how many items of the bundle were left out for which reason.

    An item may be counted under several reasons; those that applied to none are absent. ``capped`` are those that caps
    kept out of the list.
    """

    stages: tuple[Stage, ...]
    left_out: Mapping[str, int]
