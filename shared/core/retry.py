"""How long to wait before asking Entra or Key Vault again: within a flight, and between flights.

The sync has rules of its own for Graph, in `shared/directory/graph.py`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

from shared.core.errors import CredentialRefused, Unavailable, UnreadableAnswer, UpstreamError
from shared.core.limits import Limits

SECOND_ATTEMPT_AFTER = 1.0
"""Seconds, as MSAL.NET waits before its one retry."""
GROWTH = 1.5
JITTER = 0.1
"""The largest share by which our own waits are shortened here. A wait that upstream named is lengthened by as much for
callers, in `tokens/failures.py`, so that they do not all come back at once."""

_SECONDS = re.compile(r"\s*(\d{1,18})\s*\Z", re.ASCII)
_LONGEST = timedelta(days=1)  # of what is read; `retry_after_cap_seconds` bounds what is honoured


def retry_after(headers: Mapping[str, str], *, now: float) -> timedelta | None:
    """Read Retry-After in either form (RFC 9110 section 10.2.3).

    Args:
        headers: values by their names in lower case.
        now: seconds since the epoch, for the form that is a date, in an answer that has no Date.

    Returns:
        From one second to a day, or None where the header is missing or nonsense.
    """
    value = headers.get("retry-after", "")
    if plain := _SECONDS.match(value):
        wait = float(plain.group(1))
    elif (until := instant(value)) is not None:
        sent = instant(headers.get("date", ""))  # by the clock that has written the other date too
        wait = until - (now if sent is None else sent)
    else:
        return None
    return timedelta(seconds=min(max(wait, 1.0), _LONGEST.total_seconds()))


def instant(date: str) -> float | None:
    """Read a date of HTTP (RFC 9110 section 5.6.7), in seconds since the epoch; None for any other text."""
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, IndexError, OverflowError):
        return None


def pause(error: UpstreamError, *, attempt: int, limits: Limits) -> float | None:
    """Return the seconds until the same flight may try again, or None where it has to give up.

    A second attempt can succeed where a connection broke or an answer was cut. It cannot mend a refusal, and it must
    not come before the time that upstream named.
    """
    passing = isinstance(error, Unavailable | UnreadableAnswer) and error.upstream_wait is None
    return SECOND_ATTEMPT_AFTER if passing and attempt < limits.attempts_per_flight else None


def failure_wait(error: UpstreamError, *, failures: int, limits: Limits, draw: float) -> float:
    """Return the seconds for which a failed flight is remembered, and no other is started.

    That is 0 where the flight was refused and a link of the chain is left that it did not ask with.

    Args:
        error: what the flight failed with.
        failures: how many flights have failed in a row, this one included.
        limits: the knobs.
        draw: from 0 to 1; shortens a wait of our own.
    """
    if isinstance(error, CredentialRefused) and error.links_left:
        return 0.0
    if error.upstream_wait is not None:
        return min(error.upstream_wait.total_seconds(), limits.retry_after_cap_seconds)
    if not error.retryable:
        return limits.failure_permanent_seconds
    grown = limits.failure_first_seconds * GROWTH ** min(failures - 1, 100)  # beyond that a float overflows one day
    return min(grown, limits.failure_max_seconds) * (1 - JITTER * draw)
