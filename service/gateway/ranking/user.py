"""From what is stored and what was sent to what the models need to know of a user."""

from dataclasses import dataclass

from models.contract.types import Array, Ints, Profile
from service.gateway.bundles.item_set import ItemSet
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.ranking.constraints import NOTHING_LEFT_OUT, LeftOut, constrain, unknown_ids
from service.gateway.types import Query, Reason, UserState


@dataclass(frozen=True, slots=True)
class User:
    """A user, and what may be shown to them, in the terms of one bundle.

    Args:
        profile: None for one of whom nothing is known.
        history: item numbers, oldest first.
        excluded: item numbers that must not be shown: what they have seen, what the request excludes.
        reasons: what the caller should know of all this.
        allowed: the items that alone may be shown; None: all.
        left_out: how many items are not shown and why, counted where the request asks for explanations.
    """

    profile: Profile | None
    history: Ints
    excluded: Ints
    reasons: tuple[Reason, ...]
    allowed: ItemSet | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT

    @property
    def mask(self) -> Array | None:
        """(n_items,) bool, the items that may be shown as far as they are not excluded; None: all."""
        return None if self.allowed is None else self.allowed.mask


def understand(query: Query, state: UserState, snapshot: Snapshot, hidden: frozenset[str] = frozenset()) -> User:
    """Known users keep their profile; those who send a history, or have only that, are folded in from it.

    Args:
        query: what is asked.
        state: what is known of the user.
        snapshot: the bundle that answers.
        hidden: ids of items that must not be shown to anybody.

    Raises:
        ApiError: the query's filters are not possible with this bundle.
    """
    reasons = [Reason("unreadable_state", name, degrades=True) for name in state.unreadable]
    history = snapshot.catalogue.numbers(state.history if query.history is None else query.history)
    if query.history is not None and len(history) < len(query.history):
        reasons += unknown_ids("unknown_item", query.history, snapshot.catalogue)
    profile = state.profile if query.history is None else None
    if profile is not None and not snapshot.fits(profile):
        profile = None
        reasons.append(Reason("unreadable_state", "profile", degrades=True))
    if profile is None and len(history):
        profile = snapshot.fold_in(history)
    if profile is None:
        reasons.append(Reason("unknown_user"))
    constraints = constrain(query, state.seen, history, snapshot, hidden)
    return User(
        profile,
        history,
        constraints.excluded,
        (*reasons, *constraints.reasons),
        constraints.allowed,
        constraints.left_out,
    )
