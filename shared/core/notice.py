"""When the end of something is told: a credential of the directory, a caller."""

NOTICE_DAYS = (1, 7, 30)
"""How many days before an end somebody is told of it; once each."""
DAY_SECONDS = 86_400.0


def notice_days(*, ends_at: float, told_days: int | None, now: float) -> int | None:
    """Return within how many days something ends, if that is to be told now; None if it is not.

    Args:
        ends_at: in seconds since the epoch.
        told_days: the least that was told of it.
        now: seconds since the epoch.
    """
    left = (ends_at - now) / DAY_SECONDS
    days = next((days for days in NOTICE_DAYS if 0 < left <= days), None)
    return None if days is None or (told_days is not None and told_days <= days) else days
