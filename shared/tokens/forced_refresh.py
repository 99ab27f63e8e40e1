"""A request that does not accept the cached token: what the cache does with it, as a table of cases.

A resource has answered 401. Its client asks vend again, with the `claims` of the challenge, or with the hash of the
token that was rejected. https://learn.microsoft.com/entra/identity-platform/claims-challenge

There are three kinds of demand:

    hash            the rejected token           a newer token replaces the entry; the cached one is a spare
    nbf alone       revoked older tokens         a newer token replaces the entry, for every caller
    other claims,   the caller that was          a token for this caller and these claims alone; it answers its own
    an nbf ahead    challenged                   flight and is kept nowhere
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import NamedTuple

from shared.core.token import AccessToken, TokenKey
from shared.tokens.failures import Failure

EVERYBODY = ""
"""In place of the caller in the demand of a flight that is every caller's."""
ROUNDING = 2.0
"""Seconds by which a moment of Entra's clock can be later than what its `Date`, in whole seconds, tells of it."""
CHALLENGES = 1_000
"""How many challenges are remembered."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of a flight, beside its key; equal demands share one flight.

    Args:
        caller: whose the claims are; `EVERYBODY` for `nbf` alone.
        claims: in canonical form; "" for `nbf` alone, which differs from flight to flight.
    """

    caller: str
    claims: str

    @property
    def is_shared(self) -> bool:
        """Whether the token replaces the entry."""
        return self.caller == EVERYBODY


type Route = tuple[TokenKey, Demand | None]
"""The purpose of a flight: a key, and a demand where there is one."""


class Step(Enum):
    """The way in which the cache treats the request."""

    ORDINARY = "ordinary"
    """Answer it like a request without a demand."""
    JOIN = "join"
    """Wait for the flight that is under way with the same demand."""
    REFUSE = "refuse"
    """Raise the remembered failure."""
    TOO_SOON = "too soon"
    """Raise an error with the seconds until the next flight with this demand may start."""
    START = "start"
    """Start a flight."""


class Forced(NamedTuple):
    """The last flight for a challenge.

    Args:
        at: when it started, on the boot clock.
        asked: when it asked, by what is known of Entra's clock, in seconds since the epoch.
        demanded: the `nbf` that it asked for.
        failure: how it ended, if it failed; until it ends, how the one before it did.
    """

    at: float
    asked: float = -inf
    demanded: float = -inf
    failure: Failure | None = None

    def refuses(self, wanted: float) -> bool:
        """Return whether its failure is one for this `nbf` too: a refusal of one that lay ahead is none of another."""
        return wanted >= self.demanded or self.demanded <= self.asked

    def met_by(self, token: AccessToken) -> float:
        """Return the latest `nbf` that its token meets: the moment it was asked for, or the one that Entra gave it for.

        Of an instant ahead no more than `ROUNDING` counts: what an API revokes until then is not known yet.
        """
        return max(token.asked_by_entra, min(self.demanded, token.asked_by_entra + ROUNDING))


NEVER = Forced(-inf)


class Challenges:
    """The last flight for each challenge; the oldest gives way to a new one."""

    def __init__(self) -> None:
        self._last: dict[Route, Forced] = {}

    def last(self, route: Route) -> Forced:
        """Return the last flight for a challenge, or `NEVER`."""
        return self._last.get(route, NEVER)

    def began(self, route: Route, forced: Forced) -> None:
        """Remember a flight: for the bound on the next, and for what its token meets."""
        self._last.pop(route, None)
        self._last[route] = forced
        if len(self._last) > CHALLENGES:
            del self._last[next(iter(self._last))]

    def landed(self, route: Route, failure: Failure | None) -> Forced:
        """Remember how the flight ended, where it is remembered itself, and return it."""
        if route in self._last:
            self._last[route] = self._last[route]._replace(failure=failure)
        return self.last(route)


def next_step(*, met: bool, flying: bool, failing: bool, strict: bool, recent: bool) -> Step:
    """Return what to do with a request that demands a newer token.

    Args:
        met: the cached token meets the demand already.
        flying: a flight that meets the demand is under way.
        failing: a failure of this key, or of the same demand, is in force.
        strict: the demand has claims, so that the cached token cannot answer it.
        recent: the last flight with this demand is under way, or it started less than `forced_refresh_interval_seconds`
            ago and has not failed. What failed may be tried again earlier.
    """
    match met, flying, failing, strict, recent:
        case True, _, _, _, _:
            return Step.ORDINARY
        case _, True, _, _, _:
            return Step.JOIN
        case _, _, True, True, _:
            return Step.REFUSE
        case _, _, True, False, _:
            return Step.ORDINARY
        case _, _, _, True, True:
            return Step.TOO_SOON
        case _, _, _, False, True:
            return Step.ORDINARY
        case _:
            return Step.START
