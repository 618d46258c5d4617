"""MGET without the client: what redis-py does around a command costs more than the command."""

from collections.abc import Sequence
from typing import cast

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError


class Mget:
    """Connections that are used for nothing else, each for one command at a time.

    One whose command was not read to its end, for whatever reason, is never used again: what it still has to say
    belongs to somebody else.

    Args:
        pool: says how connections are made. It does not keep these.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._idle: list[AbstractConnection] = []

    async def __call__(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values. Raises RedisError or OSError."""
        command = pack_command(("MGET", *keys))  # type: ignore[arg-type] # its stub allows tuples of one
        connection: AbstractConnection
        connection = self._idle.pop() if self._idle else self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            try:
                values = await _exchange(connection, command)
            except (
                RedisConnectionError
            ):  # after a restart of Redis every kept connection is dead: once more, on a new one
                await connection.disconnect(nowait=True)
                values = await _exchange(connection, command)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return values

    async def close(self) -> None:
        """Close the connections. Commands under way are the caller's matter."""
        while self._idle:
            await self._idle.pop().disconnect()


async def _exchange(connection: AbstractConnection, command: bytes) -> list[bytes | None]:
    await connection.send_packed_command(command)  # connects where it has to
    return cast("list[bytes | None]", await connection.read_response())
