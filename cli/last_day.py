"""Which rights callers have used in the last day, from the events of the app; without a log nobody knows here."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cli.differences import Difference, Right
from cli.trail import given_since

SECONDS = 24 * 3600
QUERY = (
    "AppTraces | where TimeGenerated > ago(1d) | extend event = parse_json(Message)"
    ' | where event.event == "token" and event.outcome == "vended"'
    " | summarize last_at = max(TimeGenerated) by tostring(event.caller), tostring(event.profile),"
    " tostring(event.tenant_id), tostring(event.scope)"
)


@dataclass(frozen=True, slots=True)
class LastDay:
    """The rights that callers have used within the last day.

    Args:
        used: each caller with the right that it used; None where it is not known.
    """

    used: Collection[tuple[str, Right]] | None

    def cut_off(self, difference: Difference) -> str:
        """Return why a change would cut off a caller that was seen; "" if it would not."""
        if not difference.lost and not difference.cuts:
            return ""
        if self.used is None:
            return f"whether it was seen in the last day is not known{_because(difference.cuts)}"
        mine = {right for name, right in self.used if name == difference.name}
        if difference.cuts and mine:
            return f"it was seen in the last day, and {difference.cuts}"
        if lost := sorted(mine & set(difference.lost)):
            return f"in the last day it used {', '.join(dict.fromkeys(right.scope for right in lost))}"
        return ""


def read_last_day(log: Path | None, *, now: float) -> LastDay:
    """Read the events of a log, or end with exit code 1 if it cannot be read.

    Args:
        log: the log; None where there is none.
        now: seconds since the epoch.
    """
    if log is None:
        return LastDay(None)
    return LastDay({(each.caller, each.right) for each in given_since(log, now - SECONDS)})


def _because(cuts: str) -> str:
    return f", and {cuts}" if cuts else ""
