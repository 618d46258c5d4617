"""The data stage: read, filter, split, save."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from models.config import option
from models.contract.errors import ConfigError, DataError
from models.data.dataset import Dataset
from models.data.filters import DuplicatePolicy, Filters, apply_filters
from models.data.lines import UTF_8, check_encoding
from models.data.readers import SourceFormat, TableOptions, Tables, read_tables
from models.data.splits import by_time, by_window, given, leave_one_out
from models.data.statistics import describe
from models.data.table import Written
from models.data.times import UTC, TimeFormat, check_zone
from models.stage import run_stage

VERSION = 1  # raise when the stage computes something else from the same inputs

SplitMethod = Literal["leave-one-out", "windows", "time", "given"]


@dataclass(frozen=True)
class DataConfig:
    """Where the data are, what is kept of them, and how they are split.

    Raises:
        ConfigError: a split by time whose validation part does not begin before its test part, an encoding or a time
            zone that there is not, or items' columns without an items file.
    """

    source: SourceFormat = option("atomic", "Format: movielens-dat, movielens-csv, atomic, amazon or table.")
    interactions: str = option("", "Path of the interactions file.")
    items: str = option(
        "", "Path of the items file; empty: items are known by id, and in format table by what the interactions say."
    )
    interaction_columns: str = option(
        "",
        "Format table: canonical=column pairs, such as 'user_id=customer,item_id=sku,timestamp=bought_at'; without an"
        " items file also title, brand and categories.",
    )
    item_columns: str = option("", "Format table: canonical=column pairs of the items file.")
    item_attributes: str = option("", "Format table: further columns of the items to keep, comma separated.")
    category_separator: str = option(" > ", "Format table: what separates the categories of an item.")
    encoding: str | None = option(None, "Format table: encoding of text files, such as latin-1. Unset: UTF-8.")
    time_format: str | None = option(
        None, "Format table: how times are written, such as '%d/%m/%Y %H:%M'. Unset: seconds since 1970 or ISO 8601."
    )
    time_zone: str | None = option(
        None, "Format table: IANA name of the zone of times that say none, such as Europe/Berlin. Unset: UTC."
    )
    max_malformed_share: float = option(0.01, "Refuse a file with more malformed rows.", low=0.0, high=1.0)
    min_rating: float | None = option(None, "Leave out interactions rated below; unset keeps all.")
    duplicates: DuplicatePolicy = option(
        "first", "Of several interactions of a user with an item keep first, last or all."
    )
    core_users: int = option(1, "Interactions that every user must have, iteratively; 1 keeps all.", low=1)
    core_items: int = option(1, "Interactions that every item must have, iteratively; 1 keeps all.", low=1)
    split: SplitMethod = option("leave-one-out", "Method: leave-one-out, windows (8:1:1 by time), time, or given.")
    window: int = option(11, "Split windows: items in a window, the target included.", low=2)
    valid_from: float = option(
        0.8, "Split time: start of validation, seconds since 1970, or a quantile up to 1.", low=0
    )
    test_from: float = option(0.9, "Split time: start of test, seconds since 1970, or a quantile up to 1.", low=0)

    def __post_init__(self) -> None:
        if self.split == "time" and self.valid_from >= self.test_from:
            raise ConfigError(f"valid_from: {self.valid_from}; expected less than test_from, {self.test_from}")
        if self.item_columns and not self.items:
            raise ConfigError(
                f"item_columns: {self.item_columns!r} without an items file; expected the titles' column among"
                " interaction_columns, as title=…, or items"
            )
        check_encoding(self.encoding or UTF_8)
        check_zone(self.time_zone or UTC)


def input_files(config: DataConfig) -> dict[str, Path]:
    """The files that the stage reads, by name. Raises ConfigError or DataError where one is not there."""
    if not config.interactions:
        raise ConfigError("data.interactions: is empty; expected the path of the interactions file")
    named = {"interactions": config.interactions, "items": config.items}
    files = {name: Path(path) for name, path in named.items() if path}
    for name, path in files.items():
        if not path.is_file():
            raise DataError(f"data.{name}: {path} is not a file")
    return files


def run(config: DataConfig, directory: Path) -> bool:
    """:func:`prepare` as a stage: does nothing and returns False where ``directory`` already holds the result."""

    def work(target: Path) -> None:
        prepare(config, target)

    return run_stage(directory, name="data", version=VERSION, config=config, inputs=input_files(config), work=work)


def prepare(config: DataConfig, directory: Path) -> Dataset:
    """Read, filter and split a data set, and save it with its statistics into ``directory``.

    Raises:
        ConfigError: a setting cannot be used.
        DataError: a file cannot be used, or nothing is left to train on or to evaluate.
    """
    tables = read(config)
    filters = Filters(config.min_rating, config.duplicates, config.core_users, config.core_items)
    ordered, report = apply_filters(tables.interactions, filters)
    max_history = config.window - 1 if config.split == "windows" else None
    dataset = Dataset.build(_split(ordered, config), tables.items, max_history)
    _require_all_splits(dataset, config.split)
    dataset.save(directory)
    describe(dataset, report, tables.reports).save(directory)
    return dataset


def read(config: DataConfig) -> Tables:
    """The tables that a configuration names, as they are. Raises ConfigError or DataError where they cannot be read."""
    files = input_files(config)
    options = TableOptions(
        _pairs(config.interaction_columns, "interaction_columns"),
        _pairs(config.item_columns, "item_columns"),
        _names(config.item_attributes),
        config.category_separator,
        Written(config.encoding or UTF_8, TimeFormat(config.time_format or "", config.time_zone or UTC)),
    )
    return read_tables(
        config.source,
        files["interactions"],
        files.get("items"),
        options=options,
        max_malformed_share=config.max_malformed_share,
    )


def _split(ordered: pl.DataFrame, config: DataConfig) -> pl.DataFrame:
    match config.split:
        case "leave-one-out":
            return leave_one_out(ordered)
        case "windows":
            return by_window(ordered, config.window)
        case "given":
            return given(ordered)
        case "time":
            return by_time(ordered, config.valid_from, config.test_from)


def _require_all_splits(dataset: Dataset, split: SplitMethod) -> None:
    sizes = {
        "train interactions": len(dataset.train.items),
        "valid examples": len(dataset.examples("valid")),
        "test examples": len(dataset.examples("test")),
    }
    for name, size in sizes.items():
        if not size:
            raise DataError(f"data.split: {split} leaves no {name} of {len(dataset.full.items):,} interactions")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(text: str, key: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in _names(text)]
    for canonical, equals, column in pairs:
        if not (canonical and equals and column):
            raise ConfigError(f"data.{key}: {canonical + equals + column!r}: expected canonical=column pairs")
    return {canonical.strip(): column.strip() for canonical, _, column in pairs}
