"""What the gateway records is what the export writes."""

from pathlib import Path

from redis import Redis
from support.gateway import RunningGateway
from support.processes import wait_until

from models.contract.redis_schema import EXPOSURES
from models.online import tables
from models.online.export import export


def test_a_list_that_was_shown_becomes_a_row(gateway: RunningGateway, redis_url: str, tmp_path: Path):
    body = gateway.recommend("u0")
    with Redis.from_url(redis_url) as redis:
        wait_until(lambda: redis.xlen(EXPOSURES) == 1)

        export(redis, tmp_path)

    row = tables.read(tmp_path, tables.EXPOSURES).row(0, named=True)
    assert (row["request_id"], row["user_id"], row["pipeline"]) == (body["request_id"], "u0", "local")
    assert row["items"] == [item["item_id"] for item in body["items"]]
    assert row["sources"] == [item["source"] for item in body["items"]]
    assert (row["degraded"], row["forced"], row["shadow"]) == (False, False, "")
