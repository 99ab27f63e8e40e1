"""The cache entry of one key, and the view of it for observers."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from shared.core.limits import Limits
from shared.core.token import AccessToken, Moment, TokenKey, min_remaining, min_remaining_failing

if TYPE_CHECKING:
    from shared.tokens.failures import Failure

NEVER = Moment(-inf, -inf)


class Entry:
    """The state of one key.

    Attributes:
        token: the cached one.
        fresh_wall, fresh_boot: before these instants it is served without another look.
        not_before: the `nbf` that it meets, in seconds since the epoch: when it was asked for by Entra's clock, or what
            Entra was told to meet, if that is later.
        used: numbers the last use; the smallest number was unused for longest.
        failure: of the last flight; None after one that succeeded.
        replaced: when the last flight began because the token was rejected, on the boot clock; forgotten if it failed.
    """

    __slots__ = ("failure", "fresh_boot", "fresh_wall", "not_before", "replaced", "token", "used")

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.fresh_wall, self.fresh_boot = NEVER
        self.not_before = -inf
        self.used = 0
        self.failure: Failure | None = None
        self.replaced = -inf

    def view(self, key: TokenKey, now: Moment, *, is_failing: bool) -> "EntryView":
        """Return what an observer may see."""
        token = self.token
        return EntryView(
            key,
            token=token.fingerprint if token else None,
            age=now.boot - token.asked.boot if token else 0.0,
            remaining=token.remaining(now) if token else 0.0,
            cause=self.failure.error.public_cause if self.failure else None,
            is_failing=is_failing,
        )


class EntryView(NamedTuple):
    """One entry, for an observer; never the token."""

    key: TokenKey
    token: str | None
    """Fingerprint of the token."""
    age: float
    """Seconds since the token was asked for; 0 without a token."""
    remaining: float
    """Seconds of life; 0 without a token."""
    cause: str | None
    """Why the last flight failed, without a name of the operator's own; None if it succeeded."""
    is_failing: bool
    """Whether that failure is in force, so that no flight starts."""


@dataclass(slots=True)
class Counters:
    """Counts since this worker started."""

    hits: int = 0
    """Answers from the cache, stale ones among them."""
    stale_hits: int = 0
    """Answers with a token whose refresh was due."""
    misses: int = 0
    """Requests that the cache alone could not answer."""
    refreshes: int = 0
    """Flights that started in the background."""
    acquired: int = 0
    """Flights that succeeded."""
    failures: int = 0
    """Flights that failed."""
    waiting: int = 0
    """Requests that wait for a flight now."""


def least_remaining(token: AccessToken, limits: Limits, *, failing: bool = False) -> float:
    """Return the seconds of life with which a token is served at the least, and while no newer one comes."""
    least = limits.min_remaining_failing_seconds
    if failing:
        return min_remaining_failing(token.lifetime, least=least)
    return min_remaining(token.lifetime, most=limits.min_remaining_seconds, least=least)
