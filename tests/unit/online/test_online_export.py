"""From streams to tables, on a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner, Result
from redis import Redis

from localrec.cli import cli
from models.contract.errors import DataError
from models.contract.records import Event, Exposure, encode_records
from models.contract.redis_schema import DELETED_USERS, EVENTS, EXPOSURES, item_hash
from models.data.dataset import Dataset
from models.online import columns as c
from models.online import stream, tables
from models.online.export import STATE, export

START_MS = 1_700_000_000_000
DAY_MS = 24 * 3_600_000


def exposure(number: int, user_id: str = "ann") -> Exposure:
    return Exposure(
        request_id=f"r{number}",
        user_id=user_id,
        timestamp_ms=START_MS + number,
        bundle_id="demo-1",
        pipeline="local",
        experiments={"fusion": "rrf"},
        items=("a", "b"),
        sources=("local", "cf"),
        voters=("c01", "c02"),
        ranks=((1, 0), (2, 1)),
        latency_ms=7.5,
        context={"device": "phone", "age": 41.0, "member": True},
    )


def event(number: int, user_id: str = "ann", **fields: object) -> Event:
    known = {"event_id": f"e{number}", "type": "click", "item_id": "a", "timestamp_ms": START_MS + number}
    return msgspec.convert({**known, "user_id": user_id, **fields}, Event)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as client:
        yield client


def record(redis: Redis, *records: Exposure | Event) -> None:
    """Each kind as one entry of its stream."""
    for key, kind in ((EXPOSURES, Exposure), (EVENTS, Event)):
        if batch := [one for one in records if isinstance(one, kind)]:
            redis.xadd(key, encode_records(batch))  # type: ignore[arg-type] # one kind each


def requests(directory: Path) -> list[str]:
    return tables.read(directory, tables.EXPOSURES)[c.REQUEST].to_list()


def test_records_become_rows(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1), event(1, value=2.5, request_id="r1"))

    export(redis, tmp_path)

    (row,) = tables.read(tmp_path, tables.EXPOSURES).to_dicts()
    assert row["time"].timestamp() * 1_000 == START_MS + 1
    assert row["experiments"] == [{"experiment": "fusion", "variant": "rrf"}]
    assert (row["items"], row["voters"], row["ranks"]) == (["a", "b"], ["c01", "c02"], [[1, 0], [2, 1]])
    assert (row["forced"], row["shadow"], row["degraded"], row["latency_ms"]) == (False, "", False, 7.5)
    context = {pair["name"]: pair["value"] for pair in row["context"]}
    assert context == {"device": "phone", "age": "41", "member": "true"}
    (row,) = tables.read(tmp_path, tables.EVENTS).to_dicts()
    assert (row["event_id"], row["type"], row["value"], row["request_id"]) == ("e1", "click", 2.5, "r1")


def test_the_next_export_adds_what_has_come_since(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1), event(1))
    export(redis, tmp_path)
    record(redis, exposure(2))

    exposures, events = export(redis, tmp_path)

    assert (exposures.n_written, events.n_written) == (1, 0)
    assert requests(tmp_path) == ["r1", "r2"]
    assert len(tables.EXPOSURES.parts(tmp_path)) == 2
    assert len(tables.EVENTS.parts(tmp_path)) == 1


def test_parts_are_in_the_order_of_the_stream(tmp_path: Path) -> None:
    for name in ("exposures-10-0.parquet", "exposures-9-0.parquet", "exposures.parquet", "exposures-9-11.parquet"):
        (tmp_path / name).touch()

    names = [path.name for path in tables.EXPOSURES.parts(tmp_path)]

    assert names == ["exposures.parquet", "exposures-9-0.parquet", "exposures-9-11.parquet", "exposures-10-0.parquet"]


def test_an_interrupted_export_is_repeated_without_loss_or_doubles(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1))
    export(redis, tmp_path)
    before = (tmp_path / STATE).read_bytes()
    record(redis, exposure(2))
    export(redis, tmp_path)
    (tmp_path / STATE).write_bytes(before)  # as if it had ended just before this
    redis.xtrim(EXPOSURES, maxlen=0, approximate=False)
    record(redis, exposure(3))

    report, _ = export(redis, tmp_path)

    assert requests(tmp_path) == ["r1", "r2", "r3"]
    assert sum(pl.read_parquet(path).height for path in tables.EXPOSURES.parts(tmp_path)) == 3
    assert report.may_lack


def test_doubles_are_dropped_within_an_export_and_between_two(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1), exposure(1))
    first, _ = export(redis, tmp_path)
    record(redis, exposure(1), exposure(2))

    second, _ = export(redis, tmp_path)

    assert (first.n_doubles, second.n_doubles) == (1, 1)
    assert not second.may_lack
    assert sum(pl.read_parquet(path).height for path in tables.EXPOSURES.parts(tmp_path)) == 2


def test_equal_ids_of_two_users_are_two_events(redis: Redis, tmp_path: Path) -> None:
    """As the service takes them: it knows each user's ids."""
    record(redis, event(1), event(1, "bob"), event(1))
    _, report = export(redis, tmp_path)
    assert (report.n_written, report.n_doubles) == (2, 1)
    assert tables.read(tmp_path, tables.EVENTS)[c.USER].to_list() == ["ann", "bob"]


def test_lists_of_one_request_are_no_doubles(redis: Redis, tmp_path: Path) -> None:
    lists = [exposure(1), exposure(1, "bob"), msgspec.structs.replace(exposure(1), shadow="other")]
    record(redis, *lists)

    report, _ = export(redis, tmp_path)

    assert (report.n_written, report.n_doubles) == (3, 0)
    assert tables.read(tmp_path, tables.EXPOSURES).height == 3


def test_lists_under_one_id_of_the_callers_are_all_there(redis: Redis, tmp_path: Path) -> None:
    page = [msgspec.structs.replace(exposure(number), request_id="page-7") for number in (1, 2)]
    record(redis, *page)
    export(redis, tmp_path)
    record(redis, page[1], msgspec.structs.replace(exposure(3), request_id="page-7"))  # the one of before, and another
    export(redis, tmp_path)
    assert requests(tmp_path) == ["page-7"] * 3


def test_an_entry_that_was_taken_out_is_no_loss(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1))
    record(redis, exposure(2))
    export(redis, tmp_path)
    newest = redis.xrevrange(EXPOSURES, count=1)
    redis.xdel(EXPOSURES, newest[0][0])

    report, _ = export(redis, tmp_path)

    assert not report.may_lack


def test_damaged_entries_are_counted(redis: Redis, tmp_path: Path) -> None:
    redis.xadd(EXPOSURES, {"e": "[{"})
    redis.xadd(EXPOSURES, {"other": "x"})
    record(redis, exposure(1))

    report, _ = export(redis, tmp_path)

    assert (report.n_damaged, report.n_written) == (2, 1)


def test_deleted_users_go_from_old_parts_and_new_records(redis: Redis, tmp_path: Path) -> None:
    record(redis, exposure(1, "ann"), exposure(2, "bob"))
    export(redis, tmp_path)
    redis.hset(DELETED_USERS, item_hash("bob").to_bytes(8, "little"), START_MS // 1_000 + 60)
    record(redis, exposure(3, "bob"), exposure(61_000, "bob"))

    report, _ = export(redis, tmp_path)

    assert requests(tmp_path) == ["r1", "r61000"]  # bob came back in the second after
    assert report.n_deleted == 2


def test_pages_end_where_the_stream_ended_at_the_start(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        record(redis, exposure(number))
    seen = []
    for page in stream.EXPOSURE_STREAM.pages(redis, "-", size=2):
        seen += [one.request_id for one in page.records]
        record(redis, exposure(100 + len(seen)))

    assert seen == ["r0", "r1", "r2", "r3", "r4"]


def test_empty_streams_give_empty_tables(redis: Redis, tmp_path: Path) -> None:
    export(redis, tmp_path)
    record(redis, exposure(1))
    export(redis, tmp_path)

    assert requests(tmp_path) == ["r1"]
    assert tables.read(tmp_path, tables.EVENTS).is_empty()


def test_a_state_that_cannot_be_read_is_named(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text("{")

    with pytest.raises(DataError, match=r"state\.json: .* export into an empty directory"):
        export(redis, tmp_path)


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "exposures.parquet"
    if content is None:
        pl.DataFrame({"request_id": ["r1"]}).write_parquet(path)
    else:
        path.write_bytes(content)

    with pytest.raises(DataError, match=r"exposures\.parquet: no table of exposures"):
        tables.read(tmp_path, tables.EXPOSURES)


def localrec(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


class TestCommand:
    def test_it_says_what_it_did(self, redis: Redis, redis_url: str, tmp_path: Path) -> None:
        record(redis, exposure(1), exposure(1), event(1))

        answer = localrec("export", "events", "--out", tmp_path, "--redis-url", redis_url)

        assert answer.output == "exposures: 1 new, 1 already there\nevents: 1 new\n"

    def test_since_leaves_out_older_entries(self, redis: Redis, redis_url: str, tmp_path: Path) -> None:
        redis.xadd(EXPOSURES, encode_records([exposure(1)]), id=f"{START_MS}-0")
        record(redis, exposure(2))

        localrec("export", "events", "--out", tmp_path, "--redis-url", redis_url, "--since", "2023-11-20")

        assert requests(tmp_path) == ["r2"]

    def test_interactions_are_data_that_prepare_reads(self, redis: Redis, redis_url: str, tmp_path: Path) -> None:
        users = [f"u{number}" for number in range(4)]
        met = [(user, place) for user in users for place in range(4)]
        clicks = [event(10 * n, user, item_id=f"i{(n + place) % 5}") for n, (user, place) in enumerate(met)]
        rated = event(1_000, "u0", type="rating", item_id="i9", value=4.0)
        bought = event(2_000, "u0", type="purchase", item_id="i8", value=99.5)
        record(redis, *clicks, rated, bought, event(3_000, "u0", type="view", item_id="unwanted"))
        file = tmp_path / "interactions.parquet"

        answer = localrec(
            "export", "events", "--out", tmp_path / "tables", "--redis-url", redis_url, "--interactions", file
        )

        assert answer.exit_code == 0, answer.output
        frame = pl.read_parquet(file)
        assert frame.filter(item_id="i9")["rating"].to_list() == [4.0]
        assert frame.filter(item_id="i8")["rating"].to_list() == [None]
        run = tmp_path / "run"
        prepared = localrec("data", "prepare", "--run", run, "--source", "table", "--interactions", file)
        assert prepared.exit_code == 0, prepared.output
        dataset = Dataset.load(run / "data")
        assert len(dataset.full.items) == 18
        assert len(dataset.examples("test")) == 4

    @pytest.mark.parametrize(("name", "said"), [("out.csv", "ends in .parquet"), ("out.parquet", "none of 0 events")])
    def test_interactions_that_cannot_be_written_are_an_error(
        self, redis_url: str, tmp_path: Path, name: str, said: str
    ) -> None:
        answer = localrec(
            "export", "events", "--out", tmp_path, "--redis-url", redis_url, "--interactions", tmp_path / name
        )

        assert said in str(answer.exception)
