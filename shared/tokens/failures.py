"""The memory of failed flights.

A failure is a value: an exception that is raised again and again collects tracebacks, whose frames hold what was sent.
So each caller gets a copy of the error, with the wait that is left.

A refusal counts only until the usable credentials of the profile change: Entra may accept a new version of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.retry import JITTER, failure_wait
from shared.core.token import Moment


@dataclass(frozen=True, slots=True)
class Failure:
    """A flight that failed, and for how long no other is started.

    Args:
        error: the reason; it is never raised itself.
        in_a_row: how many flights have failed since the last that succeeded.
        until: when it stops counting, on the boot clock.
        version: of the credential that a next flight would use, told after this one.
    """

    error: UpstreamError
    in_a_row: int
    until: float
    version: str

    @classmethod
    def after(
        cls, last: "Failure | None", error: UpstreamError, *, now: Moment, version: str, limits: Limits, draw: float
    ) -> "Failure":
        """Return the failure that follows the last one of its key; `draw`, from 0 to 1, spreads its wait."""
        in_a_row = last.in_a_row + 1 if last else 1
        wait = failure_wait(error, failures=in_a_row, limits=limits, draw=draw)
        return cls(error, in_a_row, until=now.boot + wait, version=version)

    def is_in_force(self, now: Moment, version: Callable[[], str]) -> bool:
        """Return whether it still counts: not after its time, nor for another credential than the refused one."""
        return now.boot < self.until and (self.error.retryable or self.version == version())

    def for_caller(self, now: Moment, draw: float) -> UpstreamError:
        """Return the error for one caller, with the wait that is left.

        Where upstream named the wait, callers are spread a little behind it.
        """
        if self.error.wait is None:  # a denial, which must look like a denial by policy
            return self.error.with_wait(None)
        left = max(0.0, self.until - now.boot)
        if self.error.upstream_wait is not None:
            left *= 1 + JITTER * draw
        return self.error.with_wait(timedelta(seconds=left))
