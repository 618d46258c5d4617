"""From what is stored and what was sent to what the models need to know of a user."""

from dataclasses import dataclass

import numpy as np

from models.contract.numbers import distinct
from models.contract.profile import inherit_weights
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
        stored_id: the id under which models may know the user; None where the history came with the request, and where
            no profile is published: of a user who was deleted, a model's vector from before must not be used.
    """

    profile: Profile | None
    history: Ints
    excluded: Ints
    reasons: tuple[Reason, ...]
    allowed: ItemSet | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT
    stored_id: str | None = None

    @property
    def mask(self) -> Array | None:
        """(n_items,) bool, the items that may be shown as far as they are not excluded; None: all."""
        return None if self.allowed is None else self.allowed.mask


def understand(query: Query, state: UserState, snapshot: Snapshot, hidden: frozenset[str] = frozenset()) -> User:
    """What the models need to know: known users keep their profile, the others are folded in.

    Who sends a history is folded in from it, who has no profile from what is stored. Known users whose history is no
    longer that of their profile are folded in anew, and keep what their communities' models were worth to them.

    Args:
        query: what is asked.
        state: what is known of the user.
        snapshot: the bundle that answers.
        hidden: ids of items that must not be shown to anybody.

    Raises:
        ApiError: the query's filters are not possible with this bundle.
    """
    reasons = [Reason("unreadable_state", name, degrades=True) for name in state.unreadable]
    history = _history(query, state, snapshot)
    seen = snapshot.items_of(state.seen)
    if query.history is None:
        profile = _stored_profile(state, history, seen, snapshot, reasons)
    else:
        profile = snapshot.fold_in(history) if len(history) else None
        if len(history) < len(query.history):
            reasons += unknown_ids("unknown_item", query.history, snapshot.catalogue)
    if profile is None:
        reasons.append(Reason("unknown_user"))
    constraints = constrain(query, seen, history, snapshot, hidden)
    return User(
        profile,
        history,
        constraints.excluded,
        (*reasons, *constraints.reasons),
        constraints.allowed,
        constraints.left_out,
        query.user_id if query.history is None and state.profile is not None else None,
    )


def _history(query: Query, state: UserState, snapshot: Snapshot) -> Ints:
    """What counts, oldest first. Of live events models read each item once, where it came first, as in training."""
    if query.history is not None:
        return snapshot.catalogue.numbers(query.history)
    history = snapshot.catalogue.numbers(state.history)
    return distinct(history) if state.changed or state.profile is None else history


def _stored_profile(
    state: UserState, history: Ints, seen: Ints, snapshot: Snapshot, reasons: list[Reason]
) -> Profile | None:
    """The published profile while it is fresh.

    Else one of all that the user has seen: the CF encoder takes a bag of items, and a history holds only the last ones.
    """
    published = state.profile
    if published is not None and not snapshot.fits(published):
        published = None
        reasons.append(Reason("unreadable_state", "profile", degrades=True))
    if not len(history) or (published is not None and not state.changed):
        return published
    folded = snapshot.fold_in(np.concatenate([history, seen]))
    return folded if published is None else inherit_weights(folded, published)
