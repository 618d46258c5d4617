"""From what is stored and what was sent to what the models need to know of a user."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.contract.profile import inherit_weights
from models.contract.types import Ints, Profile, item_numbers
from service.gateway.bundles.snapshot import Snapshot
from service.gateway.types import Query, Reason, UserState

NAMED_UNKNOWN_ITEMS = 5


@dataclass(frozen=True, slots=True)
class User:
    """A user in the terms of one bundle. ``profile`` is None for one of whom nothing is known."""

    profile: Profile | None
    history: Ints
    excluded: Ints
    reasons: tuple[Reason, ...]


def understand(query: Query, state: UserState, snapshot: Snapshot) -> User:
    """What the models need to know: known users keep their profile, the others are folded in.

    Who sends a history is folded in from it, who has no profile from what is stored. Known users whose history is no
    longer that of their profile are folded in anew, and keep what their communities' models were worth to them.
    """
    reasons = [Reason("unreadable_state", name, degrades=True) for name in state.unreadable]
    history = snapshot.catalogue.numbers(state.history if query.history is None else query.history)
    seen = snapshot.items_of(state.seen)
    if query.history is None:
        profile = _stored_profile(state, history, seen, snapshot, reasons)
    else:
        profile = snapshot.fold_in(history) if len(history) else None
        reasons += _unknown_items(query.history, snapshot) if len(history) < len(query.history) else []
    if profile is None:
        reasons.append(Reason("unknown_user"))
    return User(profile, history, _excluded(query, seen, history, snapshot), tuple(reasons))


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


def _excluded(query: Query, seen: Ints, history: Ints, snapshot: Snapshot) -> Ints:
    parts = [seen, history] if query.exclude_seen else []
    if query.exclude_items:
        parts.append(snapshot.catalogue.numbers(query.exclude_items))
    return np.concatenate(parts) if parts else item_numbers([])


def _unknown_items(item_ids: Sequence[str], snapshot: Snapshot) -> list[Reason]:
    unknown = [item_id for item_id in item_ids if snapshot.catalogue.number(item_id) is None]
    named = [Reason("unknown_item", item_id) for item_id in unknown[:NAMED_UNKNOWN_ITEMS]]
    more = len(unknown) - len(named)
    return [*named, Reason("unknown_item", f"and {more} more")] if more else named
