"""A user's records out of a stream, those of others left."""

from typing import Any, cast

from models.contract.records import RECORDS_FIELD, without_user
from service.gateway.store.redis_store import RedisStore

PAGE = 20  # entries a round trip: an entry can hold 200 lists, and must not keep the loop busy

# Whoever deletes the entry writes what is left of it, at the end of the stream: of two who erase at once, one would
# bring back what the other has taken out, if deleting and writing were two steps.
_REWRITE = """
local found = redis.call('XDEL', KEYS[1], ARGV[1])
if found == 1 and ARGV[3] ~= '' then redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3]) end
return found
"""
_Entry = tuple[bytes, dict[bytes, bytes]]


async def erase(store: RedisStore, stream: str, user_id: str) -> int:
    """Delete a user's records from a stream, in pages. Returns how many. Raises StateUnavailableError."""
    erased, start = 0, b"-"
    while page := await _page(store, stream, start):
        for entry_id, fields in page:
            erased += await _erase_from(store, stream, entry_id, fields.get(RECORDS_FIELD, b""), user_id)
        start = b"(" + page[-1][0]
    return erased


async def _page(store: RedisStore, stream: str, start: bytes) -> list[_Entry]:
    return await store.ask(
        lambda redis: cast(Any, redis.xrange(stream, min=cast(Any, start), count=PAGE)), kind="users"
    )


async def _erase_from(store: RedisStore, stream: str, entry_id: bytes, records: bytes, user_id: str) -> int:
    rest, n_gone = without_user(records, user_id)
    if not n_gone:
        return 0
    arguments = (entry_id, RECORDS_FIELD, rest)
    found = await store.ask(
        lambda redis: cast(Any, redis.eval(_REWRITE, 1, stream, *cast(Any, arguments))), kind="users"
    )
    return n_gone if found else 0  # not found: somebody else has rewritten it, and the rest is met further on
