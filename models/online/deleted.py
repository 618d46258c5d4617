"""Users who asked to be forgotten: what was recorded of them before that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import polars as pl
from redis import Redis

from models.contract.redis_schema import DELETED_USERS, user_hash
from models.online.columns import INSTANT, TIME, USER


@dataclass(frozen=True)
class DeletedUsers:
    """When each user was deleted.

    Args:
        seconds: 8-byte hash of the user id → seconds since 1970.
    """

    seconds: Mapping[bytes, int]

    @classmethod
    def of(cls, redis: Redis) -> "DeletedUsers":
        """Those that Redis knows."""
        found = cast("dict[bytes, bytes]", redis.hgetall(DELETED_USERS))
        return cls({user: int(seconds) for user, seconds in found.items()})

    def keep(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that were recorded after their user was deleted, and those of all other users."""
        users = frame[USER].unique()
        times = [(user, self.seconds[key]) for user in users if (key := user_hash(user)) in self.seconds]
        if not times:
            return frame
        ends = pl.DataFrame(times, schema={USER: pl.String, "deleted": pl.Int64}, orient="row")
        end = pl.from_epoch(pl.col("deleted") + 1, "s").cast(INSTANT)  # its whole second, and what lies before
        marked = frame.join(ends, USER, "left", maintain_order="left")
        return marked.filter(pl.col("deleted").is_null() | (pl.col(TIME) >= end)).drop("deleted")
