"""Lists of a whole service, asked for over HTTP, against those of the offline half."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from localrec.processes import post
from localrec.stack import Stack, WorkerKind, running_stack
from models.contract.bundle import Bundle
from models.contract.specs import FurtherPart
from models.contract.types import Ints

DEADLINE_MS = 10_000  # what is compared is lists, on whatever machine
N = 10


def stack_of(bundle: Bundle, part: FurtherPart, workers: WorkerKind, directory: Path) -> AbstractContextManager[Stack]:
    """A service whose requests a further model answers, unless they ask for another."""
    return running_stack(bundle, directory, further={part: workers}, environment={"LOCALREC_DEFAULT_PIPELINE": part})


def served(port: int, **body: object) -> dict[str, Any]:
    """An answer of POST /recommend that has nothing missing."""
    status, content = post(port, "/recommend", {"n": N, "deadline_ms": DEADLINE_MS} | body)
    assert status == 200, content
    answer: dict[str, Any] = json.loads(content)
    assert not answer["degraded"], answer["reasons"]
    return answer


def item_ids(answer: dict[str, Any]) -> list[str]:
    """The list, best first."""
    return [item["item_id"] for item in answer["items"]]


def named(lists: Ints, ids: Sequence[str]) -> list[list[str]]:
    """Lists of item numbers as lists of ids."""
    return [[ids[item] for item in items] for items in lists.tolist()]
