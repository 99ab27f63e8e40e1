"""The clock of a local cloud, and what its parts say that it is."""

import time
from collections.abc import Callable

FARTHEST = 3_650 * 86_400.0  # seconds; ten years at once, so that every date still has four digits for its year


class Clock:
    """Seconds since 1970 by a base clock, plus an offset that only grows; every part of a cloud reads the same one."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._offset = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self._base() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: the seconds are negative or more than ten years.
        """
        if not 0 <= seconds <= FARTHEST:
            raise ValueError(f"a clock moves forward by at most {FARTHEST:.0f} seconds, not by {seconds}")
        self._offset += seconds


class Dates:
    """What the parts of a cloud answer as their `Date`: the time of their clock, plus what a rehearsal adds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self._clock() + self.ahead
