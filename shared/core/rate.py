"""How often a caller may ask: a bucket of requests that fills evenly, as arithmetic on the boot clock."""


class Bucket:
    """The requests that one caller, or all unknown ones together, has left; it begins full, with those of a minute.

    Time comes in as an argument, in seconds of a clock that never jumps. The rate does too: it may change between two
    requests, when the callers document does.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, *, per_minute: int, now: float) -> None:
        self._left = float(per_minute)
        self._at = now

    def take(self, *, per_minute: int, now: float) -> float:
        """Take one request; return 0, or where there is none the seconds until there will be one."""
        left = min(float(per_minute), self._left + (now - self._at) * per_minute / 60)
        self._at = now
        if left < 1:
            self._left = left
            return (1 - left) * 60 / per_minute
        self._left = left - 1
        return 0.0
