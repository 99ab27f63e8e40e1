"""Where the streams of a directory stand: which one is due, and what an operator should know of the copy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.core.check import Check, State
from shared.core.directory.checkpoint import LONGEST_PAUSE_SECONDS
from shared.core.directory.waits import left

TICK_SECONDS = 60.0
"""How often the timer fires."""
LATE_SECONDS = 600.0
"""A copy is late once its last complete round is older than twice the interval and this."""
CLOCK_SECONDS = 600.0
"""What the clocks of two workers may differ by. A round that ended later than that was timed by a wrong clock."""
AGAIN_SECONDS = 1.2 * LONGEST_PAUSE_SECONDS + CLOCK_SECONDS
"""The longest pause after a failure."""
LINK_SECONDS = 5 * 86_400.0
"""The age of a link at which an operator should know that Graph forgets it: it does so after 7 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStanding:
    """Where a stream of a tenant is between two runs.

    Args:
        tenant_id: the tenant.
        stream: the name of the stream.
        fingerprint: what its link was made for; see `Stream.fingerprint`.
        is_copying: a copy is under way.
        complete_at: when the last complete round ended, in seconds since the epoch; None if there was none.
        retry_at: before when Graph is not asked; None if it may be.
        again_at: before when the timer leaves a stream alone whose runs fail; None if they do not.
        error: why the last run failed; None if it did not.
        held: the losses of the last copy that are not believed: how many, by their kind.
    """

    tenant_id: str
    stream: str
    fingerprint: str | None = None
    is_copying: bool = True
    complete_at: float | None = None
    retry_at: float | None = None
    again_at: float | None = None
    error: str | None = None
    held: Mapping[str, int] = field(default_factory=dict)

    def is_due(self, *, fingerprint: str, interval: float, now: float) -> bool:
        """Return whether the timer should run the stream.

        Args:
            fingerprint: what a link would be made for now; another one than that of the link needs a new copy.
            interval: seconds between two rounds.
            now: seconds since the epoch.
        """
        if left(self.retry_at, now=now) or left(self.again_at, now=now, longest=AGAIN_SECONDS):
            return False
        if self.is_copying or self.complete_at is None or self.fingerprint != fingerprint:
            return True
        if self.complete_at > now + CLOCK_SECONDS:
            return True
        # The tick that is nearest to the end of the interval: a round ends some seconds after its tick.
        return now + TICK_SECONDS / 2 >= self.complete_at + interval


def check_directory(
    standings: Sequence[StreamStanding], *, copied: Sequence[tuple[str, str]], interval: float, now: float
) -> Check:
    """Return the line of readiness about the copy of the directory; a copy with a fault still answers readers.

    Args:
        standings: where each stream is, also of tenants and streams that were copied once.
        copied: the tenants and the names of their streams that are configured.
        interval: seconds between two rounds.
        now: seconds since the epoch.
    """
    ours = [standing for standing in standings if (standing.tenant_id, standing.stream) in copied]
    faults = [fault for standing in ours for fault in _faults(standing, interval=interval, now=now)]
    begun = {(standing.tenant_id, standing.stream) for standing in ours}
    faults += [f"{name}: no run has begun" for tenant_id, name in copied if (tenant_id, name) not in begun]
    if not faults:
        oldest = min(standing.complete_at or 0.0 for standing in ours)
        return Check("directory", State.OK, f"complete {_minutes(now - oldest)} ago")
    return Check(
        "directory",
        State.DEGRADED,
        "; ".join(dict.fromkeys(faults)),
        "readers of the copy find what was true when the last round ended",
        "the events sync_failed, sync_held and sync_skipped name the cause and what to do; ./vend sync runs it now",
    )


def _faults(standing: StreamStanding, *, interval: float, now: float) -> list[str]:
    found = []
    if standing.complete_at is None:
        found.append(f"{standing.stream}: the first copy is not complete")
    elif standing.complete_at > now + CLOCK_SECONDS:
        found.append(f"{standing.stream}: the last complete round ended in the future: the clock of a worker is wrong")
    elif (age := now - standing.complete_at) > 2 * interval + LATE_SECONDS:
        found.append(f"{standing.stream}: the last complete round ended {_minutes(age)} ago")
        if age > LINK_SECONDS:
            found.append(f"{standing.stream}: after 7 days Graph forgets the link, and a new copy is read")
    if standing.error is not None:
        found.append(f"{standing.stream}: the last run failed: {standing.error}")
    found += [f"{standing.stream}: {number} {kind} are held back" for kind, number in sorted(standing.held.items())]
    return found


def _minutes(seconds: float) -> str:
    """Write an age."""
    minutes = max(0, math.floor(seconds / 60))
    return f"{minutes} min" if minutes < 600 else f"{minutes // 60} h"
