"""The line of the credentials in the list of checks."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.core.check import Check, State
from shared.core.entra.links import ACTIVATION_DELAY
from shared.core.token import Moment
from shared.credentials.chain import Chain

WARN_BEFORE = timedelta(days=30)
"""How long before the end of a certificate its check is degraded."""
TRIAL = timedelta(hours=2)
"""How long a worker may take to try a version that is old enough: a refresh of each of its tokens."""


class Standing(NamedTuple):
    """How a chain stands.

    Args:
        end: of the link that serves; None where it has no end, or none that is known.
        newer_refused: whether Entra refuses a newer version that is old enough to be registered.
    """

    end: datetime | None
    newer_refused: bool = False


class Serving(NamedTuple):
    """By which credential a profile proves itself, for an administrator: ids name vaults, files and versions.

    Args:
        profile: its name.
        credential: the link that is asked with first; None while none is known.
        is_accepted: whether Entra has accepted it from this worker.
        ends: its end; None where it has none, or none that is known.
        resting: the links that Entra refuses, or of which no proof could be made.
    """

    profile: str
    credential: str | None
    is_accepted: bool
    ends: datetime | None
    resting: tuple[str, ...]


def serving(profile: str, chain: Chain) -> Serving:
    """Return by which link of its chain a profile proves itself."""
    first = chain.accepted or next(iter(chain.ordered(is_trial=False)), None)
    return Serving(
        profile=profile,
        credential=first.id if first else None,
        is_accepted=chain.accepted is not None,
        ends=first.not_after if first else None,
        resting=tuple(link.id for link in chain.refused),
    )


def standing(chain: Chain, now: Moment) -> Standing | None:
    """Return how a chain stands; None while no link of it is known."""
    serving = chain.accepted or next(iter(chain.ordered(is_trial=False)), None)
    if serving is None:
        return None
    due = datetime.fromtimestamp(now.wall, UTC) - ACTIVATION_DELAY - TRIAL
    made = serving.created or datetime.min.replace(tzinfo=UTC)
    return Standing(serving.not_after, any(link.created and made < link.created <= due for link in chain.refused))


def check_credentials(standings: Iterable[Standing | None], now: Moment) -> Check:
    """Return the check of the credentials by which this worker proves itself: the one that ends first, or is refused.

    Args:
        standings: of each client.
        now: both clocks.
    """
    known = [standing for standing in standings if standing]
    if not known:
        return Check(
            "certificate",
            State.DEGRADED,
            "not read yet",
            "until the vault has been read nothing can be signed",
            "see the check named token",
        )
    end = min((standing.end for standing in known if standing.end), default=None)
    detail = f"ends on {end:%Y-%m-%d}" if end else "its end is not known"
    left = end - datetime.fromtimestamp(now.wall, UTC) if end else None
    if left is not None and left <= WARN_BEFORE:
        return Check(
            "certificate",
            State.DEGRADED,
            f"{detail}, in {max(0, left.days)} days",
            "from then on no token can be had",
            "make a new version and register it: docs/credentials.md",
        )
    if any(standing.newer_refused for standing in known):
        return Check(
            "certificate",
            State.DEGRADED,
            f"{detail}, and Entra refuses a newer version",
            "the older version serves until its end; from then on no token can be had",
            "register the newer version, or follow the event registration_failed: docs/credentials.md",
        )
    return Check("certificate", State.OK, detail)
