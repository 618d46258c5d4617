"""How long to wait before a process is started again. Pure."""

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 10.0
WELL_SECONDS = 60.0  # a process that lived so long was well: the next one starts at once again


class Backoff:
    """Doubles from one short life to the next."""

    def __init__(self) -> None:
        self._short_lives = 0

    def after(self, lived_seconds: float) -> float:
        """Seconds to wait after a process that lived so long."""
        self._short_lives = 0 if lived_seconds >= WELL_SECONDS else self._short_lives + 1
        return min(FIRST_SECONDS * 2.0 ** max(self._short_lives - 1, 0), LONGEST_SECONDS)
