"""What is asked: the number of a request and a seed say everything about it."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.profiles import BATCH_REQUESTS, Kind, Profile
from loadtests.sampling import ZipfSampler

RECOMMEND, BATCH, EVENTS = "/recommend", "/recommend/batch", "/events"
HISTORY = (5, 20)  # items that a stranger brings, at least and at most
EVENT_TYPES = ("view", "click", "add_to_cart", "purchase")
OWN_USERS = "loadtest-"  # events are about users of our own: the histories of real ones stay as they are
SEED_STRIDE = 2**32


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its path, its body, and how many items each list in the answer must have."""

    kind: Kind
    route: str
    body: bytes
    n: int


@dataclass(frozen=True, slots=True)
class Bodies:
    """What the bodies of a run share.

    Args:
        n: items of a list.
        seed: of users, histories and events.
        zipf_exponent: skew of users and items; 0 is even.
        deadline_ms: of each request; None: the service's.
    """

    n: int = 10
    seed: int = 0
    zipf_exponent: float = 1.0
    deadline_ms: int | None = None


class Traffic:
    """The requests of a run.

    Args:
        profile: what is asked.
        bodies: what they share.
        user_ids: the most active first.
        item_ids: those that strangers bring and events name; none are needed where the profile has neither.
    """

    def __init__(self, profile: Profile, bodies: Bodies, user_ids: Sequence[str], item_ids: Sequence[str]) -> None:
        self._profile, self._bodies = profile, bodies
        self._users = ZipfSampler(user_ids, bodies.zipf_exponent)
        self._items = ZipfSampler(item_ids, bodies.zipf_exponent) if item_ids else None
        self._kinds, self._shares = list(profile.kinds), list(profile.kinds.values())
        self._everybody = list(user_ids)
        random.Random(bodies.seed).shuffle(self._everybody)  # noqa: S311 - a load pattern, not a secret

    def request(self, number: int) -> Request:
        """The request of this number, the same each time."""
        rng = random.Random(self._bodies.seed * SEED_STRIDE + number)  # noqa: S311 - a load pattern, not a secret
        kind = rng.choices(self._kinds, self._shares)[0] if len(self._kinds) > 1 else self._kinds[0]
        if kind == "event":
            return self._made(kind, EVENTS, self._event(rng))
        if kind == "batch":
            requests = [self._list(rng, number * BATCH_REQUESTS + at) for at in range(BATCH_REQUESTS)]
            return self._made(kind, BATCH, {"requests": requests})
        if kind == "stranger":
            return self._made(kind, RECOMMEND, self._stranger(rng, number))
        if kind == "check":
            return self._made(kind, RECOMMEND, self._list(rng, number) | {"user_id": self._own_user(rng)})
        return self._made(kind, RECOMMEND, self._list(rng, number))

    def _made(self, kind: Kind, route: str, body: dict[str, Any]) -> Request:
        return Request(kind, route, json.dumps(body).encode(), self._bodies.n)

    def _list(self, rng: random.Random, number: int) -> dict[str, Any]:
        body = {"user_id": self._user(rng, number), "n": self._bodies.n}
        if self._bodies.deadline_ms is not None:
            body["deadline_ms"] = self._bodies.deadline_ms
        return body if self._profile.use_cache else body | {"use_cache": False}

    def _user(self, rng: random.Random, number: int) -> str:
        if self._profile.everybody:
            return self._everybody[number % len(self._everybody)]
        return self._users.draw(rng)

    def _stranger(self, rng: random.Random, number: int) -> dict[str, Any]:
        history = list(dict.fromkeys(self._known_items().sample(rng, rng.randint(*HISTORY))))
        return self._list(rng, number) | {"user_id": f"stranger-{self._bodies.seed}-{number}", "history": history}

    def _event(self, rng: random.Random) -> dict[str, Any]:
        item_id = self._known_items().draw(rng)
        return {"type": rng.choice(EVENT_TYPES), "user_id": self._own_user(rng), "item_id": item_id}

    def _own_user(self, rng: random.Random) -> str:
        return OWN_USERS + self._users.draw(rng)

    def _known_items(self) -> ZipfSampler:
        if self._items is None:
            raise ValueError("item_ids: strangers and events need items")
        return self._items
