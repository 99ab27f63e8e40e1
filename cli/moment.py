"""`--not-after`: a date, a moment, or a time from now."""

import re
from datetime import UTC, datetime, timedelta

import typer

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
FORMS = "2027-01-31, 2027-01-31T12:00Z, or 90d from now (h, d, w)"


def moment(text: str, *, now: float) -> datetime:
    """Read it; a date without a time is its first moment in UTC.

    Args:
        text: as it was given.
        now: seconds since the epoch.

    Raises:
        typer.BadParameter: it is none of these.
    """
    if lasts := re.fullmatch(r"([0-9]{1,4})([hdw])", text):
        return datetime.fromtimestamp(int(now), UTC) + int(lasts[1]) * UNITS[lasts[2]]
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"must be such as {FORMS}", param_hint="--not-after") from None
