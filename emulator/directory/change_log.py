"""The changes of one tenant: each has a number, and the time of the one clock, in the same order."""

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emulator.directory.directory_object import Edge, State
from emulator.directory.kinds import Kind


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log: new values, an edge that was added or removed, or a new state.

    Args:
        time: in epoch seconds.
        restored: whether the object came back from the recycle bin.
    """

    time: float
    id: str
    kind: Kind
    properties: frozenset[str] = frozenset()
    edges: tuple[Edge, ...] = ()
    state: State | None = None
    restored: bool = False


class ChangeLog:
    """The changes, oldest first; the first has the number 1."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._late: list[tuple[float, int, Change]] = []  # a heap
        self._order = itertools.count()

    @property
    def position(self) -> int:
        """The number of the last change."""
        return len(self._changes)

    def position_at(self, time: float) -> int:
        """Return the number of the last change up to a time (epoch seconds)."""
        return bisect_right(self._changes, time, key=lambda change: change.time)

    def between(self, start: int, end: int) -> Sequence[Change]:
        """Return the changes after one position and up to another."""
        return self._changes[start:end]

    def append(self, change: Change) -> None:
        """Add a change that happens now."""
        self._changes.append(change)

    def postpone(self, change: Change) -> None:
        """Hold a change back until its time."""
        heapq.heappush(self._late, (change.time, next(self._order), change))

    def settle(self, now: float) -> None:
        """Add what was postponed until now."""
        while self._late and self._late[0][0] <= now:
            self._changes.append(replace(heapq.heappop(self._late)[2], time=now))
