"""The order in which the links of a chain are asked with: which key, secret or identity proves a client first."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

ACTIVATION_DELAY = timedelta(hours=24)
"""How old a new version must be before it is preferred: the operator has that long to make it known to Entra."""


class Datable(Protocol):
    """The facts of a link on which the order of links depends."""

    @property
    def id(self) -> str:
        """Names the link among all of its chain."""

    @property
    def created(self) -> datetime | None:
        """When this version was made; None for a link that has no versions."""


def newest_aged[L: Datable](links: Sequence[L], now: datetime) -> L | None:
    """Return the newest version that is old enough for Entra to know it, if there is one."""
    aged = [link for link in _by_age(links) if link.created is None or link.created <= now - ACTIVATION_DELAY]
    return aged[-1] if aged else None


def in_order[L: Datable](
    credentials: Sequence[Sequence[L]],
    *,
    accepted: str | None,
    is_resting: Callable[[str], bool],
    now: datetime,
    is_trial: bool = False,
) -> list[L]:
    """Return the links in the order in which a flight asks with them, each once.

    The link that Entra accepted last comes first. For each credential in turn follow the newest version that is old
    enough and the oldest one, which is the likeliest to be registered; then the rest, the newest first. Links that
    rest come last: resting orders links and never takes one away.

    Args:
        credentials: the usable links of each credential, in the order of the profile.
        accepted: id of the link that Entra accepted last, if any.
        is_resting: returns whether Entra has refused the link of an id not long ago.
        now: by the wall clock.
        is_trial: whether the newest version that is old enough goes before the accepted link: nobody waits.
    """
    wished = list(_wished(credentials, accepted=accepted, now=now, is_trial=is_trial))
    unique = {link.id: link for link in wished}
    return sorted(unique.values(), key=lambda link: is_resting(link.id))


def _wished[L: Datable](
    credentials: Sequence[Sequence[L]], *, accepted: str | None, now: datetime, is_trial: bool
) -> Iterator[L]:
    preferred = next((link for links in credentials if (link := newest_aged(links, now))), None)
    if is_trial and preferred:
        yield preferred
    yield from (link for links in credentials for link in links if link.id == accepted)
    for links in credentials:
        if newest := newest_aged(links, now):
            yield newest
        yield from _by_age(links)[:1]
    for links in credentials:
        yield from reversed(_by_age(links))


def _by_age[L: Datable](links: Sequence[L]) -> list[L]:
    """Return links, the oldest first; one without versions is the oldest."""
    return sorted(links, key=lambda link: link.created.timestamp() if link.created else 0.0)
