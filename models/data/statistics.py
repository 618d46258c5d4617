"""What a data set holds, as numbers for a file and as text for a person."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from models.contract.errors import DataError
from models.data.dataset import Dataset
from models.data.filters import FilterReport
from models.data.report import ReadReport
from models.data.splits import TEST, TRAIN, VALID

FILE = "statistics.json"


@dataclass(frozen=True)
class Statistics:
    """Counts of a prepared data set, the filters before it and the files before them.

    ``history_length_*`` are interactions per user, over all splits; times are seconds since 1970, None where unknown.
    ``without_history`` counts valid and test interactions that are no target because nothing came before them or,
    in a split by windows, because their window is not full.
    """

    n_users: int
    n_items: int
    n_interactions: int
    density: float
    history_length_mean: float
    history_length_median: float
    history_length_max: int
    first_timestamp: int | None
    last_timestamp: int | None
    share_without_timestamp: float
    share_with_title: float
    n_train: int
    n_valid_examples: int
    n_test_examples: int
    without_history: int
    filters: FilterReport
    files: tuple[ReadReport, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def as_text(self) -> str:
        """For a person: a line per fact, and the malformed rows of each file."""
        return "\n".join([*_lines(self), *(report.summary() for report in self.files)])

    def save(self, directory: Path) -> None:
        """Write ``statistics.json``."""
        (directory / FILE).write_text(json.dumps(self.as_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read ``statistics.json``. Raises DataError where it is missing or malformed."""
        try:
            return msgspec.json.decode((directory / FILE).read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as exc:
            raise DataError(f"{directory / FILE}: {exc}") from exc


def describe(dataset: Dataset, filters: FilterReport, files: tuple[ReadReport, ...]) -> Statistics:
    """Count what is in a data set."""
    lengths = np.diff(dataset.full.offsets)
    known = dataset.full_timestamps[dataset.full_timestamps > 0]
    n_users, n_items, n_interactions = len(dataset.user_ids), len(dataset.catalogue), len(dataset.full.items)
    return Statistics(
        n_users=n_users,
        n_items=n_items,
        n_interactions=n_interactions,
        density=n_interactions / (n_users * n_items),
        history_length_mean=float(lengths.mean()),
        history_length_median=float(np.median(lengths)),
        history_length_max=int(lengths.max()),
        first_timestamp=int(known.min()) if len(known) else None,
        last_timestamp=int(known.max()) if len(known) else None,
        share_without_timestamp=1 - len(known) / n_interactions,
        share_with_title=sum(item.title is not None for item in dataset.catalogue.items) / n_items,
        n_train=int((dataset.labels == TRAIN).sum()),
        n_valid_examples=int((dataset.targets & (dataset.labels == VALID)).sum()),
        n_test_examples=int((dataset.targets & (dataset.labels == TEST)).sum()),
        without_history=int((~dataset.targets & (dataset.labels != TRAIN)).sum()),
        filters=filters,
        files=files,
    )


def _lines(s: Statistics) -> list[str]:
    return [
        f"users                {s.n_users:,}",
        f"items                {s.n_items:,}, {s.share_with_title:.1%} with a title",
        f"interactions         {s.n_interactions:,}, density {s.density:.4%}",
        f"history length       mean {s.history_length_mean:.1f}, median {s.history_length_median:g},"
        f" longest {s.history_length_max:,}",
        f"time                 {_day(s.first_timestamp)} to {_day(s.last_timestamp)},"
        f" {s.share_without_timestamp:.1%} unknown",
        f"train interactions   {s.n_train:,}",
        f"valid, test examples {s.n_valid_examples:,}, {s.n_test_examples:,};"
        f" {s.without_history:,} more without a history",
        f"filtered out         {s.filters.below_min_rating:,} by rating, {s.filters.duplicates:,} duplicates,"
        f" {s.filters.outside_core:,} outside the core",
    ]


def _day(timestamp: int | None) -> str:
    return "unknown" if timestamp is None else datetime.fromtimestamp(timestamp, UTC).date().isoformat()
