"""How late the event loop is: what blocks it delays every request, and no request can see that of itself."""

import asyncio
from collections import deque

from shared.core.check import Check, State

PERIOD = 0.25
"""Seconds between two looks, by which a delay can seem shorter than it was: some microseconds each, for ever."""
REMEMBERED = 60.0
"""Seconds."""
LATE = 1.0
"""Seconds of delay from which the check is degraded."""


class LoopLag:
    """The longest that the event loop has kept a timer waiting within the last minute."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=round(REMEMBERED / PERIOD))
        self._measuring = False

    async def check(self) -> Check:
        """Return the line of the event loop."""
        late = self.worst()
        detail = f"{late:.1f} s late at the most, within the last minute"
        if late < LATE:
            return Check("event_loop", State.OK, detail)
        return Check(
            "event_loop",
            State.DEGRADED,
            detail,
            "every request of this worker waits as long",
            "look for what else takes its processor; more instances help where there are too many requests",
        )

    def worst(self) -> float:
        """Return it in seconds; measuring begins with the first call, as there is no loop before that."""
        if not self._measuring:
            self._measuring = True
            self._wait(asyncio.get_running_loop())
        return max([0.0, *self._late])

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + PERIOD
        loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._late.append(loop.time() - due)
        self._wait(loop)
