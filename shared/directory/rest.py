"""The pauses of a timer whose store fails: a store that takes nothing cannot keep them."""

from collections.abc import Sequence
from math import inf

from shared.core.directory.checkpoint import pause_after
from shared.core.directory.standing import StreamStanding
from shared.system import System


class Rest:
    """How long the timer leaves a store alone, as far as this worker knows: as long as a stream that fails.

    Args:
        system: clocks and chance.

    Attributes:
        error: why the last run failed, in words that any caller may read; None if it did not.
    """

    def __init__(self, system: System) -> None:
        self.error: str | None = None
        self._clock = system.clock
        self._chance = system.chance
        self._failures = 0
        self._until = -inf
        self._seen: Sequence[StreamStanding] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the timer may run again."""
        return self._clock().boot >= self._until

    def begin(self, error: str) -> None:
        """Note that a run failed."""
        self.error = error
        self._failures += 1
        self._seen = None
        self._until = self._clock().boot + pause_after(self._failures, chance=self._chance())

    def look(self, standings: Sequence[StreamStanding]) -> None:
        """Note what the store tells. If that changes after a failure, another worker had a good run."""
        if self._seen is None:
            self._seen = standings
        elif standings != self._seen:
            self.end()

    def end(self) -> None:
        """Note that a run was good."""
        self.error, self._failures, self._until = None, 0, -inf
