"""The lines of the log that requests without a known caller leave on the routes that the app alone guards.

Anybody can send them, so a flood must not fill the log, and must not go unseen. They share one budget of lines. Beyond
it they are counted by their outcome. The counts wait for the next invocation, as every event of background work does.
"""

import asyncio
from collections import Counter

from shared.core.rate import Bucket
from shared.core.token import Clock
from shared.telemetry import catalogue
from shared.telemetry.events import Events

REPORT_SECONDS = 30.0
"""How long a request is counted before the count is reported, whether others follow or not."""


class AnonymousLines:
    """The budget of one worker.

    Args:
        per_minute: lines.
        clock: both clocks.
        events: where the counts are reported.
    """

    def __init__(self, *, per_minute: int, clock: Clock, events: Events) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._events = events
        self._bucket = Bucket(per_minute=per_minute, now=clock().boot)
        self._counts = Counter[str]()

    def take(self, outcome: str) -> bool:
        """Return whether an answer may have a line of its own; it is counted otherwise.

        Must be called on the event loop.

        Args:
            outcome: the `error` of the answer.
        """
        if self._bucket.take(per_minute=self._per_minute, now=self._clock().boot) == 0:
            return True
        if not self._counts:
            asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)
        self._counts[outcome] += 1
        return False

    def _report(self) -> None:
        for outcome, count in self._counts.items():
            self._events.defer(catalogue.RequestsUnlogged(outcome=outcome, count=count))
        self._counts.clear()
