"""How late the event loop is: what blocks it delays every request, and no request can see that of itself."""

import asyncio
from collections import deque

PERIOD = 0.25
"""Seconds between two looks, by which a delay can seem shorter than it was: some microseconds each, for ever."""
REMEMBERED = 60.0
"""Seconds."""


class LoopLag:
    """The longest that the event loop has kept a timer waiting within the last minute."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=round(REMEMBERED / PERIOD))
        self._measuring = False

    def worst(self) -> float:
        """Tell it in seconds; measuring begins with the first call, as there is no loop before that."""
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
