"""Tokens and their freshness, as arithmetic on two clocks.

A token is good while both clocks agree that it is. The wall clock reads its expiry. The boot clock counts the seconds
that Entra gave it, from the moment we asked; no jump of the wall clock and no suspend changes that.

    asked        refresh_after          floor before expiry     expiry
      |  FRESH        |  STALE                 |  EXPIRED         |
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, NoReturn, Protocol

SHORTEST_REFRESH = 30
"""Seconds from one success to the next refresh at the least, whatever Entra advises."""


SHORT_LIFE = 600
"""Seconds; Entra's own tokens live no less (configurable token lifetimes), but an endpoint may give out an old one."""
CLOCK_AHEAD = 300
"""Seconds that a clock of Entra's is believed to be ahead of ours: more than clocks differ."""


class Moment(NamedTuple):
    """One reading of both clocks, in seconds."""

    wall: float
    """Since the Unix epoch; may jump."""
    boot: float
    """Since some fixed instant; never jumps, and runs on while the machine is suspended."""


class Clock(Protocol):
    """Reads the clocks, both or one."""

    @property
    def wall(self) -> Callable[[], float]:
        """Reads the wall clock alone."""

    @property
    def boot(self) -> Callable[[], float]:
        """Reads the boot clock alone."""

    def __call__(self) -> Moment:
        """Read both."""


class TokenKey(NamedTuple):
    """The owner of a token: exact strings, never joined into one. Requests with equal keys share a cache entry."""

    profile: str
    tenant_id: str
    scope: str
    caller: str = ""
    """The name of the only caller that gets it; empty for a token that callers share."""


class Freshness(Enum):
    """How a cached token may be used."""

    FRESH = "fresh"
    """Serve it."""
    STALE = "stale"
    """Serve it, and get a newer one behind the caller's back."""
    EXPIRED = "expired"
    """Do not serve it."""


class TokenSource(Enum):
    """Where an answer came from, in MSAL's words."""

    CACHE = "cache"
    IDENTITY_PROVIDER = "identity_provider"


class TokenFacts(NamedTuple):
    """The facts that a token and its answer state, as far as events report them; None where they state nothing."""

    audience: str | None = None
    has_roles: bool | None = None
    scope: str | None = None
    uti: str | None = None
    """The id that Entra gave the token; its API's logs and the sign-in log name it too."""


NO_FACTS = TokenFacts()


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token and its schedule.

    Args:
        secret: the token itself; it cannot print or pickle itself.
        asked: when the request for it left, the earliest that its life can have begun.
        lifetime: seconds from `asked` to its expiry.
        refresh_after: seconds from `asked` to the moment from which a newer one should be got.
        facts: for events alone; nothing here proves the token.
        clock_ahead: seconds that our wall clock was ahead of Entra's when it was asked for.
        sha256: of the secret, in lower-case hex, as a caller names a token that was rejected.
        quoted: the secret as JSON.
    """

    secret: str = field(repr=False)
    asked: Moment
    lifetime: float
    refresh_after: float
    facts: TokenFacts = NO_FACTS
    clock_ahead: float = 0.0
    sha256: str = field(init=False, repr=False)
    quoted: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quoted", json.dumps(self.secret))
        object.__setattr__(self, "sha256", hashlib.sha256(self.secret.encode()).hexdigest())

    def __reduce__(self) -> NoReturn:
        raise TypeError("an access token is not written anywhere")

    @property
    def fingerprint(self) -> str:
        """The only form of the token that is logged: the first 12 digits of its SHA-256."""
        return self.sha256[:12]

    @property
    def asked_by_entra(self) -> float:
        """When the request for it left, in seconds since the epoch by Entra's clock, so far as that is believed."""
        return self.asked.wall - max(self.clock_ahead, -CLOCK_AHEAD)

    def remaining(self, now: Moment) -> float:
        """Return the seconds of life left, by the clock that leaves fewer; negative once it is over."""
        return self.lifetime - max(now.wall - self.asked.wall, now.boot - self.asked.boot)

    def time(self, now: Moment) -> float:
        """Return the time of now, in seconds since the epoch: ours, or what Entra's clock would say if that is earlier.

        An end that is told to others counts from here, so that it is no later than the token's own.
        """
        return min(now.wall, self.asked_by_entra + now.boot - self.asked.boot)

    def freshness(self, now: Moment, *, floor: float) -> Freshness:
        """Return how the token may be used; `floor` is the least seconds of life that it is served with."""
        if self.remaining(now) < floor:
            return Freshness.EXPIRED
        if now.boot - self.asked.boot >= self.refresh_after:
            return Freshness.STALE
        return Freshness.FRESH

    def fresh_until(self, *, floor: float) -> Moment:
        """Return the instants before which, by both clocks, the token is FRESH: two comparisons instead of a sum."""
        last = self.lifetime - floor
        return Moment(self.asked.wall + last, self.asked.boot + min(last, self.refresh_after))


def refresh_after(lifetime: float, refresh_in: float | None, *, fraction: float) -> float:
    """Return when to refresh a token, in seconds of its age.

    Args:
        lifetime: seconds.
        refresh_in: what Entra advised, in seconds; it does so for long-lived tokens alone.
        fraction: the share of its life that is left when the refresh is due, 0.55 to 0.65 by default. Ordinary tokens
            come without advice. With so much left, an hour's token outlives an outage of half an hour, and Entra gets
            less than twice as many requests as with a refresh at the end. Drawn per token, so that tokens that were
            issued together are not refreshed together.
    """
    ours = lifetime * (1 - fraction)
    due = ours if refresh_in is None else min(ours, refresh_in)
    return max(due, min(SHORTEST_REFRESH, lifetime / 2))


def min_remaining(lifetime: float, *, most: float, least: float) -> float:
    """Return the seconds of life with which a token is served at the least: a tenth of its life, between two bounds.

    With the bound of a long-lived token alone, a token that lives for minutes would hardly ever be served twice.
    """
    return max(min_remaining_failing(lifetime, least=least), min(most, lifetime / 10))


def min_remaining_failing(lifetime: float, *, least: float) -> float:
    """Return the seconds of life with which a token is served at the least while no newer one comes.

    That is the operator's, but for a token of less than `SHORT_LIFE`: with half of its life at the most, not every
    request is one to whoever gave it.
    """
    return least if lifetime >= SHORT_LIFE else min(least, lifetime / 2)


class Wanted(NamedTuple):
    """A token to acquire.

    Args:
        key: profile, tenant and scope.
        claims: of a challenge, in canonical form; None for an ordinary token.
        newer_than: when the cached token was asked for, which the wanted one is to replace; None where there is none.
        rejected: SHA-256 of a token that an API has rejected; None where none was.
        in_background: whether nobody waits for it when its flight starts.
        flight_id: of the flight that asks; Entra and Microsoft's support know its requests by it.
    """

    key: TokenKey
    claims: str | None = None
    newer_than: Moment | None = None
    rejected: str | None = None
    in_background: bool = False
    flight_id: str = ""


class Acquired(NamedTuple):
    """A token, and where it came from."""

    token: AccessToken
    source: TokenSource


class Tokens(Protocol):
    """Where a feature gets tokens."""

    def get(
        self, key: TokenKey, *, claims: str | None = None, rejected: str | None = None, caller: str = ""
    ) -> Awaitable[Acquired]:
        """Return a token that answers these claims, which are those of a caller, and is not the rejected one.

        Raises:
            UpstreamError: none can be acquired now.
            InvalidRequest: the claims ask for a token that nobody can have yet.
        """
