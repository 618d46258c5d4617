"""Reading a Redis stream to its present end, page by page, over entries that cannot be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from redis import Redis

from models.contract.records import decode_exposures, decode_recorded_events
from models.contract.redis_schema import EVENTS, EXPOSURES, FormatError

R = TypeVar("R")

Decode = Callable[[Mapping[bytes, bytes]], list[R]]
Entry = tuple[bytes, Mapping[bytes, bytes]]

PAGE = 100  # entries in one answer of Redis; an entry may hold some hundred records


@dataclass(frozen=True)
class Page(Generic[R]):
    """Records of consecutive entries.

    Args:
        records: in the order of the stream.
        last_id: of the last entry.
        n_entries: how many entries it had.
        n_damaged: how many of them could not be read.
    """

    records: Sequence[R]
    last_id: str
    n_entries: int
    n_damaged: int


@dataclass(frozen=True)
class Stream(Generic[R]):
    """One stream of records.

    Args:
        key: in Redis.
        decode: the records of one entry; raises FormatError.
    """

    key: str
    decode: Decode[R]

    def pages(self, redis: Redis, start: str, size: int = PAGE) -> Iterator[Page[R]]:
        """Entries from ``start`` on (``(`` before an id excludes it) to the one that is the last now."""
        newest = cast("list[Entry]", redis.xrevrange(self.key, count=1))
        while newest:
            entries = cast("list[Entry]", redis.xrange(self.key, start, newest[0][0], count=size))
            if not entries:
                return
            page = self._page(entries)
            start = f"({page.last_id}"
            yield page

    def length(self, redis: Redis) -> int:
        """How many entries it has."""
        return redis.xlen(self.key)

    def has_lost(self, redis: Redis, last_id: str) -> bool:
        """Whether entries behind ``last_id`` may be gone: the stream was trimmed to behind it, or begun anew."""
        kept: Any = redis.xrange(self.key, "-", last_id, count=1)
        return not kept

    def _page(self, entries: Sequence[Entry]) -> Page[R]:
        records: list[R] = []
        n_damaged = 0
        for _, fields in entries:
            try:
                records += self.decode(fields)
            except FormatError:
                n_damaged += 1
        return Page(records, entries[-1][0].decode(), len(entries), n_damaged)


EXPOSURE_STREAM = Stream(EXPOSURES, decode_exposures)
EVENT_STREAM = Stream(EVENTS, decode_recorded_events)
