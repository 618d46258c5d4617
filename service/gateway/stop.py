"""Whether the process was told to stop. It still answers then, and says that it will not for long."""

from dataclasses import dataclass


@dataclass
class Stop:
    """Set once, by the server that owns the process."""

    asked: bool = False

    def ask(self) -> None:
        """The process was told to stop."""
        self.asked = True
