"""From what is stored and what was sent to what the models need to know of a user."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """Known users keep their profile; those who send a history, or have only that, are folded in from it."""
    reasons = [Reason("unreadable_state", name, degrades=True) for name in state.unreadable]
    history = snapshot.catalogue.numbers(state.history if query.history is None else query.history)
    if query.history is not None and len(history) < len(query.history):
        reasons += _unknown_items(query.history, snapshot)
    profile = state.profile if query.history is None else None
    if profile is not None and not snapshot.fits(profile):
        profile = None
        reasons.append(Reason("unreadable_state", "profile", degrades=True))
    if profile is None and len(history):
        profile = snapshot.fold_in(history)
    if profile is None:
        reasons.append(Reason("unknown_user"))
    return User(profile, history, _excluded(query, state, history, snapshot), tuple(reasons))


def _excluded(query: Query, state: UserState, history: Ints, snapshot: Snapshot) -> Ints:
    parts = [snapshot.items_of(state.seen), history] if query.exclude_seen else []
    if query.exclude_items:
        parts.append(snapshot.catalogue.numbers(query.exclude_items))
    return np.concatenate(parts) if parts else item_numbers([])


def _unknown_items(item_ids: Sequence[str], snapshot: Snapshot) -> list[Reason]:
    unknown = [item_id for item_id in item_ids if snapshot.catalogue.number(item_id) is None]
    named = [Reason("unknown_item", item_id) for item_id in unknown[:NAMED_UNKNOWN_ITEMS]]
    more = len(unknown) - len(named)
    return [*named, Reason("unknown_item", f"and {more} more")] if more else named
