"""Waits that end at an instant which the wall clock of some worker has written."""

LONGEST_WAIT_SECONDS = 86_400.0 + 600.0
"""The longest wait of all: a day that Graph has named, and what two clocks differ by."""


def left(until: float | None, *, now: float, longest: float = LONGEST_WAIT_SECONDS) -> float:
    """Return how many seconds of a wait are left; 0 if it is over.

    An instant further ahead than a wait can be long was written under a wrong clock: nothing waits for it.

    Args:
        until: when the wait ends, in seconds since the epoch; None if there is none.
        now: seconds since the epoch.
        longest: the longest wait of its kind.
    """
    seconds = 0.0 if until is None else until - now
    return seconds if 0.0 < seconds <= longest else 0.0
