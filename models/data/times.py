"""When something happened, from how a table says it: seconds since 1970, ISO 8601, or a format of its own."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from models.contract.errors import ConfigError
from models.data.columns import REASON, TIMESTAMP

UTC = "UTC"


@dataclass(frozen=True)
class TimeFormat:
    """How times are written.

    Args:
        pattern: of ``strptime``, such as ``%d/%m/%Y %H:%M``; empty: numbers are seconds since 1970, the rest ISO 8601.
        zone: IANA name, of times that say none themselves.
    """

    pattern: str = ""
    zone: str = UTC

    @property
    def expected(self) -> str:
        """What a time must look like, for a message."""
        return (
            f"of the format {self.pattern!r}" if self.pattern else "seconds since 1970 or ISO 8601 (data.time_format)"
        )


AS_NUMBERS_OR_ISO = TimeFormat()


def check_zone(zone: str) -> None:
    """Raises ConfigError where there is no such time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ConfigError(f"time_zone: {zone!r}; expected an IANA name, such as UTC or Europe/Berlin") from exc


def in_seconds(raw: pl.DataFrame, times: TimeFormat) -> pl.DataFrame:
    """Raw rows with TIMESTAMP as seconds since 1970, where they have one; what is no time gets a REASON.

    Of an hour that a clock shows twice the first one counts.
    """
    if TIMESTAMP not in raw.columns:
        return raw
    kind = raw.schema[TIMESTAMP]
    if kind.is_temporal():
        return raw.with_columns(_instants(pl.col(TIMESTAMP), kind, times.zone))
    return _texts(raw, times) if kind == pl.String or times.pattern else raw


def _instants(column: pl.Expr, kind: pl.DataType, zone: str) -> pl.Expr:
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return column.dt.epoch("s")
    return (
        column.cast(pl.Datetime("us"))
        .dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        .dt.epoch("s")
    )


def _texts(raw: pl.DataFrame, times: TimeFormat) -> pl.DataFrame:
    """Each distinct text is read once: baskets share theirs."""
    text = pl.col(TIMESTAMP).cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False).is_not_null() & pl.lit(not times.pattern)
    distinct = raw.filter((text != "") & ~number).select(text.unique()).to_series().to_list()
    known = {written: _seconds(written, times) for written in distinct}
    seconds = text.replace_strict(
        pl.Series(list(known), dtype=pl.String),
        pl.Series(list(known.values()), dtype=pl.String),
        default=text,
        return_dtype=pl.String,
    )
    wrong = pl.when((text != "") & seconds.is_null()).then(pl.lit(f"{TIMESTAMP} is not {times.expected}"))
    return raw.with_columns(seconds, pl.coalesce(REASON, wrong).alias(REASON))


def _seconds(written: str, times: TimeFormat) -> str | None:
    """Whole seconds since 1970 as text, as numbers in text files come; None where it is no time."""
    try:
        instant = datetime.strptime(written, times.pattern) if times.pattern else datetime.fromisoformat(written)
        local = instant if instant.tzinfo is not None else instant.replace(tzinfo=ZoneInfo(times.zone))
        return str(int(local.timestamp()))
    except (ValueError, OverflowError):
        return None
