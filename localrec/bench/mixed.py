"""Mixed traffic for synthetic users: known ones, strangers who send a history, and people who make mistakes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from localrec.bench.synthetic import SyntheticUsers

N = 10  # items of a list
MISTAKES, STRANGERS = 0.05, 0.3  # shares of the requests


@dataclass(frozen=True)
class Request:
    """A body, and whose list it asks for; None where it must be refused."""

    body: Mapping[str, Any]
    user: int | None

    @property
    def brings_history(self) -> bool:
        """Whether the answer needs nothing that is stored of the user."""
        return "history" in self.body


def draw(users: SyntheticUsers, deadline_ms: int, rng: np.random.Generator) -> Request:
    """The next request, to be explained."""
    row, kind = int(rng.integers(len(users.ids))), rng.random()
    shared = {"n": N, "deadline_ms": deadline_ms, "explain": True}
    if kind < MISTAKES:
        return Request({"user_id": users.ids[row], "n": 0}, None)
    if kind < MISTAKES + STRANGERS:
        history = [f"i{item}" for item in users.histories[row].tolist()]
        return Request(shared | {"user_id": f"stranger {row}", "history": history}, row)
    return Request(shared | {"user_id": users.ids[row]}, row)
