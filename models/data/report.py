"""What a reader met: how many rows, how many of them malformed and why, with samples to look at."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Self

from models.contract.errors import DataError

N_SAMPLES = 5


@dataclass(frozen=True)
class ReadReport:
    """One file as read.

    Args:
        file: its path.
        n_rows: rows met, malformed ones included; headers and blank lines are no rows.
        malformed: rows left out, by reason.
        samples: the first malformed rows, as ``file:line: reason: content``.
        n_repeated: well-formed rows left out because an earlier row describes the same item.
    """

    file: str
    n_rows: int = 0
    malformed: dict[str, int] = field(default_factory=dict)
    samples: tuple[str, ...] = ()
    n_repeated: int = 0

    @property
    def n_malformed(self) -> int:
        return sum(self.malformed.values())

    @classmethod
    def merge(cls, file: str, parts: Iterable[Self]) -> Self:
        """The report of a file that was read in parts."""
        parts = tuple(parts)
        reasons: Counter[str] = Counter()
        for part in parts:
            reasons.update(part.malformed)
        samples = tuple(islice(chain.from_iterable(p.samples for p in parts), N_SAMPLES))
        return cls(file, sum(p.n_rows for p in parts), dict(reasons), samples, sum(p.n_repeated for p in parts))

    def refuse_above(self, max_malformed_share: float) -> None:
        """Raise DataError where the file has no well-formed row or more malformed ones than the share allows."""
        if self.n_rows == 0:
            raise DataError(f"{self.file}: no rows")
        share = self.n_malformed / self.n_rows
        if share > max_malformed_share or self.n_malformed == self.n_rows:
            raise DataError(self.summary(f"; allowed is a share of {max_malformed_share:g}"))

    def summary(self, verdict: str = "") -> str:
        """One line, which ``verdict`` ends, then a line per reason and per sample where rows were malformed."""
        line = f"{self.file}: {self.n_rows:,} rows"
        if self.n_repeated:
            line += f", {self.n_repeated:,} repeated"
        if self.malformed:
            line += f", {self.n_malformed:,} malformed ({self.n_malformed / self.n_rows:.2%})"
        reasons = [f"\n  {count:,} × {reason}" for reason, count in sorted(self.malformed.items(), key=lambda r: -r[1])]
        samples = [f"\n  for example {sample}" for sample in self.samples]
        return line + verdict + "".join(reasons + samples)
