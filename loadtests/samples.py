"""What every exchange left: five numbers and a label, in columns, since a soak has millions of them."""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]


class Label(NamedTuple):
    """What exchanges have in common."""

    route: str
    pipeline: str
    variant: str
    outcome: str
    reasons: tuple[str, ...]


class Sample(NamedTuple):
    """One exchange.

    Args:
        due_seconds: when it was due, since the start of the run.
        late_ms: how much later it was sent: by a process that has too much to do, or no connection left. NaN where it
            was not planned, but follows from another one: it is due when it is sent.
        latency_ms: from when it was due until it was answered.
        server_ms: what it took the service, as the answer says; NaN where it does not.
        label: the rest.
    """

    due_seconds: float
    late_ms: float
    latency_ms: float
    server_ms: float
    label: Label


class Table:
    """All samples of a run."""

    def __init__(self) -> None:
        self._columns = tuple(array("d") for _ in range(4))
        self._label_of_row = array("l")
        self._numbers: dict[Label, int] = {}

    def __len__(self) -> int:
        return len(self._label_of_row)

    def add(self, sample: Sample) -> None:
        """Keep a sample."""
        for column, value in zip(self._columns, sample[:4], strict=True):
            column.append(value)
        self._label_of_row.append(self._numbers.setdefault(sample.label, len(self._numbers)))

    def extend(self, rows: Iterable[tuple[float, float, float, float, list[object]]]) -> None:
        """Keep samples as a message between processes brings them."""
        for *numbers, (route, pipeline, variant, outcome, reasons) in rows:
            self.add(Sample(*numbers, Label(route, pipeline, variant, outcome, tuple(reasons))))

    @property
    def labels(self) -> list[Label]:
        """By number."""
        return list(self._numbers)

    @property
    def label_of_row(self) -> NDArray[np.int64]:
        """(n_samples,) numbers of labels."""
        return np.array(self._label_of_row, dtype=np.int64)

    @property
    def due_seconds(self) -> Column:
        """(n_samples,)"""
        return np.array(self._columns[0])

    @property
    def late_ms(self) -> Column:
        """(n_samples,)"""
        return np.array(self._columns[1])

    @property
    def latency_ms(self) -> Column:
        """(n_samples,)"""
        return np.array(self._columns[2])

    @property
    def server_ms(self) -> Column:
        """(n_samples,)"""
        return np.array(self._columns[3])
