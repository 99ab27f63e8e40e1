"""A request that does not accept the cached token: what the cache does with it, as a table of cases.

A resource has answered 401. Its client asks vend again, with the `claims` of the challenge, or with the hash of the
token that was rejected. https://learn.microsoft.com/entra/identity-platform/claims-challenge
"""

from enum import Enum
from typing import NamedTuple

from shared.tokens.failures import Failure


class Step(Enum):
    """What the cache does with the request."""

    ORDINARY = "ordinary"
    """Answer it like a request without a demand."""
    JOIN = "join"
    """Wait for the flight that is under way with the same demand."""
    REFUSE = "refuse"
    """Raise the remembered failure."""
    START = "start"
    """Start a flight whose token replaces the cached one."""


class Forced(NamedTuple):
    """The last forced flight of a key.

    Args:
        at: when it started, on the boot clock.
        claims: what it asked for, in canonical form.
        failure: how it ended, if it failed.
    """

    at: float
    claims: str | None
    failure: Failure | None = None


def next_step(*, replaced: bool, flying: bool, failing: bool, claims: bool, recent: bool) -> Step:
    """Return what to do with a request that demands a newer token.

    Args:
        replaced: the cached token is not the rejected one any more, or there is none to replace.
        flying: a flight with the same demand is under way.
        failing: a failure of this key, or of the same claims, is in force.
        claims: the request has claims, so that the cached token cannot answer it.
        recent: the last forced flight started less than `forced_refresh_interval_seconds` ago. A challenge whose own
            flight failed may be tried again earlier.
    """
    match replaced, flying, failing, claims, recent:
        case True, _, _, _, _:
            return Step.ORDINARY
        case _, True, _, _, _:
            return Step.JOIN
        case _, _, True, True, _:
            return Step.REFUSE
        case _, _, True, False, _:
            return Step.ORDINARY
        case _, _, _, _, True:
            return Step.ORDINARY
        case _:
            return Step.START
