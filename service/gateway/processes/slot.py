"""A gateway process's place among several."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Slot:
    """A place, kept by whichever process takes it over.

    Args:
        number: of the place, from 0; the value of the label ``process``.
        count: how many places there are.
        directory: private to these processes, for their sockets.
    """

    number: int
    count: int
    directory: Path

    @property
    def socket(self) -> Path:
        """Where the process says what it measured."""
        return self.of(self.number)

    @property
    def others(self) -> list[int]:
        """The other places."""
        return [number for number in range(self.count) if number != self.number]

    def of(self, number: int) -> Path:
        """The socket of a place."""
        return self.directory / f"{number}.sock"
