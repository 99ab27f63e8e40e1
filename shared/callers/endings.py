"""The ends of callers: which are near, and of which of them this worker has told.

The time of a caller is over at its `not_after`. Somebody is told of that 30, 7 and 1 days before, once each by every
worker. A worker that starts tells again: what was told is in its memory alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from shared.core.notice import DAY_SECONDS, notice_days
from shared.core.policy import Caller
from shared.telemetry import catalogue

LATE_DAYS = 7
"""How long before the end of a caller readiness shows it: nobody has acted on the first notice."""
MOST_NAMES = 10


class Endings:
    """The callers with an end, of the document in force."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, str]] = []
        self._told: Mapping[tuple[float, str], int] = {}

    def replace(self, callers: Mapping[str, Caller]) -> None:
        """Take the callers of another document; what was told of an end that stays is not told again."""
        self._ends = sorted(
            (caller.not_after.timestamp(), name) for name, caller in callers.items() if caller.not_after is not None
        )
        self._told = {end: self._told[end] for end in self._ends if end in self._told}

    def late(self, now: float) -> int:
        """Return how many callers end within `LATE_DAYS`.

        Args:
            now: seconds since the epoch.
        """
        return sum(now < ends_at <= now + LATE_DAYS * DAY_SECONDS for ends_at, _ in self._ends)

    def due(self, now: float) -> catalogue.CallerEnds | None:
        """Return the event about the ends that are to be told now, which counts as told; None if there are none.

        Args:
            now: seconds since the epoch.
        """
        found = {
            end: days
            for end in self._ends
            if (days := notice_days(ends_at=end[0], told_days=self._told.get(end), now=now)) is not None
        }
        if not found:
            return None
        self._told = {**self._told, **found}
        first, _ = next(iter(found))
        return catalogue.CallerEnds(
            number=len(found),
            days=min(found.values()),
            first_end=f"{datetime.fromtimestamp(first, UTC):%Y-%m-%dT%H:%M:%SZ}",
            callers=[name for _, name in found][:MOST_NAMES],
        )
