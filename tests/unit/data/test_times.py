from datetime import UTC, datetime

import polars as pl
import pytest

from models.contract.errors import ConfigError
from models.data.times import TimeFormat, check_zone, in_seconds

NOON = int(datetime(2024, 1, 31, 12, tzinfo=UTC).timestamp())


def read(values: list[object], times: TimeFormat = TimeFormat()) -> list[tuple[object, object]]:  # noqa: B008 - frozen
    raw = pl.DataFrame({"timestamp": values}).with_columns(pl.lit(None, dtype=pl.String).alias("reason"))
    return in_seconds(raw, times).select("timestamp", "reason").rows()


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-31T12:00:00",
        "2024-01-31 12:00",
        "2024-01-31T12:00:00Z",
        " 2024-01-31T13:00:00+01:00 ",
        "2024-01-31 12:00:00.900",
    ],
)
def test_texts_of_iso_8601_are_utc_unless_they_say_otherwise(written):
    assert read([written]) == [(str(NOON), None)]


def test_numbers_and_nothing_stay_as_they_are():
    assert read(["1706702400", "17.5", "", None]) == [
        ("1706702400", None),
        ("17.5", None),
        ("", None),
        (None, None),
    ]
    assert read([1706702400]) == [(1706702400, None)]


def test_what_is_no_time_says_what_is_expected():
    assert (
        read(["yesterday", "31/01/2024 12:00"])[0][1]
        == "timestamp is not seconds since 1970 or ISO 8601 (data.time_format)"
    )
    assert read(["2024-01-31"], TimeFormat("%d/%m/%Y"))[0][1] == "timestamp is not of the format '%d/%m/%Y'"


def test_a_format_of_its_own_reads_numbers_too():
    assert read(["31/1/2024 12:00"], TimeFormat("%d/%m/%Y %H:%M")) == [(str(NOON), None)]
    assert read(["20240131"], TimeFormat("%Y%m%d")) == [(str(NOON - 12 * 3600), None)]
    assert read([20240131], TimeFormat("%Y%m%d")) == [(str(NOON - 12 * 3600), None)]


def test_local_times_are_those_of_the_zone():
    berlin = TimeFormat(zone="Europe/Berlin")
    assert read(["2024-01-31 13:00"], berlin) == [(str(NOON), None)]
    assert read([datetime(2024, 1, 31, 13)], berlin) == [(NOON, None)]
    assert read([datetime(2024, 1, 31, 12, tzinfo=UTC)], berlin) == [(NOON, None)]


def test_an_hour_that_comes_twice_is_the_first_one():
    berlin = TimeFormat(zone="Europe/Berlin")
    first = int(datetime(2024, 10, 27, 0, 30, tzinfo=UTC).timestamp())
    assert read(["2024-10-27 02:30"], berlin) == [(str(first), None)]
    assert read([datetime(2024, 10, 27, 2, 30)], berlin) == [(first, None)]


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", ""])
def test_a_zone_that_there_is_not_is_refused(zone):
    with pytest.raises(ConfigError, match="time_zone: "):
        check_zone(zone)
