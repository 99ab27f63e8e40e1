"""How long to wait before asking again."""

import re
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=1)

_SECONDS = re.compile(r"\s*(\d{1,9})\s*\Z")


def retry_after(value: str | None, *, now: float, cap: timedelta = LONGEST) -> timedelta | None:
    """Read a Retry-After header in either form (RFC 9110 section 10.2.3).

    Args:
        value: the header; None if it was not sent.
        now: seconds since the epoch, for the form that is a date.
        cap: a longer wait is shortened to this.

    Returns:
        From one second to the cap, or None where the header is missing or nonsense.
    """
    if value is None:
        return None
    plain = _SECONDS.match(value)
    if plain:
        wait = float(plain.group(1))
    else:
        try:
            when = parsedate_to_datetime(value)
        except (ValueError, IndexError, OverflowError):
            return None
        wait = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
    return timedelta(seconds=min(max(wait, 1.0), cap.total_seconds()))
