"""The check of the directory copy: what the store says, asked once a minute and never waited for long."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from shared.core.check import Check, State
from shared.core.directory.standing import StreamStanding, check_directory
from shared.core.errors import UpstreamError
from shared.core.token import Clock

REMEMBERED_SECONDS = 60.0
"""How long one look at the store serves every probe."""
DEADLINE_SECONDS = 5.0
"""After which a look at the store is given up: a run may be writing."""


class DirectoryCheck:
    """Tells where the copy stands.

    Args:
        standings: asks the store.
        copied: the tenants and the names of their streams that are synced.
        interval: seconds between two rounds.
        clock: reads both clocks.
    """

    def __init__(
        self,
        standings: Callable[[], Awaitable[Sequence[StreamStanding]]],
        *,
        copied: Sequence[tuple[str, str]],
        interval: float,
        clock: Clock,
    ) -> None:
        self._standings = standings
        self._copied = copied
        self._interval = interval
        self._clock = clock
        self._last: Check | None = None
        self._looked_at = 0.0

    async def look(self) -> Check:
        """Return the line of readiness; a store that cannot be read is one that nobody has read since."""
        now = self._clock()
        if self._last is None or now.boot - self._looked_at >= REMEMBERED_SECONDS:
            self._last, self._looked_at = await self._ask(now.wall), now.boot
        return self._last

    async def _ask(self, now: float) -> Check:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                standings = await self._standings()
        except UpstreamError as error:
            return _unread(error.public_cause, error.remedy or "")
        except TimeoutError:
            return _unread(f"the store did not answer within {DEADLINE_SECONDS:g} s")
        return check_directory(standings, copied=self._copied, interval=self._interval, now=now)


def _unread(cause: str, remedy: str = "") -> Check:
    return Check(
        "directory",
        State.DEGRADED,
        f"the copy cannot be read: {cause}",
        "whether the copy of the directory is of today is not known",
        remedy or "ask again in a minute",
    )
