"""How long a batch is going to take, learned from those that ran."""

SMOOTHING = 0.1  # share of the newest batch in the estimate
DOUBT = 0.9  # what is left of the estimate after all that waited was dropped for it


class BatchTime:
    """A line through size (rows of tokens) and time of the last batches, older ones counting exponentially less.

    With batches of one size only, time is taken to be proportional to size. An estimate that lets nothing through is
    never corrected by a batch: so each time that all that waits is dropped for it, it gets smaller.
    """

    def __init__(self) -> None:
        self._size = self._seconds = self._size_squared = self._product = 0.0  # smoothed means
        self._known = False

    def observe(self, size: int, seconds: float) -> None:
        """Learn from a batch."""
        share = SMOOTHING if self._known else 1.0
        self._known = True
        self._size += share * (size - self._size)
        self._seconds += share * (seconds - self._seconds)
        self._size_squared += share * (size * size - self._size_squared)
        self._product += share * (size * seconds - self._product)

    def expected(self, size: int) -> float:
        """Seconds for a batch of this size; 0 as long as nothing is known."""
        if not self._known:
            return 0.0
        proportional = self._seconds / self._size
        spread = self._size_squared - self._size**2
        slope = proportional
        if spread > 1e-9 * self._size_squared:
            slope = min(max((self._product - self._size * self._seconds) / spread, 0.0), proportional)
        return self._seconds + slope * (size - self._size)

    def doubt(self) -> None:
        """All that waited was dropped for the estimate."""
        self._seconds *= DOUBT
        self._product *= DOUBT
