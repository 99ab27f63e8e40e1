"""The tokens that callers were given, from the events of a log; and the questions that the audit trail answers."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.differences import Right
from cli.event_log import token_events
from cli.screen import counted

_ANSWERS = """\
AppTraces
| where TimeGenerated > ago({days}d)
| extend event = parse_json(Message)
| where event.event == "token" and event.outcome == "vended"\
"""
_RIGHT = """\
caller = tostring(event.caller), profile = tostring(event.profile),
    tenant_id = tostring(event.tenant_id), scope = tostring(event.scope)\
"""


@dataclass(frozen=True, slots=True)
class Given:
    """One answer with a token.

    Args:
        caller: name of the caller.
        right: what the token is for.
        at: when it was given.
        token: the first digits of its SHA-256, and its `uti` where it has one.
        would_deny: why `mode = "enforce"` would have refused the request; "" where it would not.
    """

    caller: str
    right: Right
    at: datetime
    token: str
    would_deny: str


def given_since(log: Path, since: float) -> Iterator[Given]:
    """Return the answers with a token, in the order of the log; end with exit code 1 if it cannot be read.

    Args:
        log: where the app's events are.
        since: seconds since the epoch.
    """
    for event in token_events(log):
        try:
            at = datetime.fromisoformat(str(event["time"])).astimezone(UTC)
        except (KeyError, ValueError):
            continue
        if at.timestamp() > since and event.get("outcome") == "vended":
            yield Given(
                caller=_text(event, "caller"),
                right=Right(_text(event, "profile"), _text(event, "tenant_id"), _text(event, "scope")),
                at=at,
                token=f"token {_text(event, 'token')}" + (f", uti {event['uti']}" if event.get("uti") else ""),
                would_deny=_text(event, "reason"),
            )


def occasions(given: Iterable[Given]) -> str:
    """Describe how often and when."""
    moments = sorted(each.at for each in given)
    first, last = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (moments[0], moments[-1]))
    return (
        f"{counted(len(moments), 'time')}, " + (f"at {last}" if first == last else f"from {first} to {last}") + " UTC"
    )


def given_query(days: int) -> str:
    """Write the query for who got which token when."""
    return (
        f"{_ANSWERS.format(days=days)}\n"
        f"| summarize given = count(), first_at = min(TimeGenerated), last_at = max(TimeGenerated)\n"
        f"    by {_RIGHT},\n    token = tostring(event.token), uti = tostring(event.uti)\n"
        "| order by caller asc, first_at asc"
    )


def would_deny_query(days: int) -> str:
    """Write the query for whom `mode = "audit"` serves and `mode = "enforce"` would refuse."""
    return (
        f"{_ANSWERS.format(days=days)} and isnotempty(tostring(event.reason))\n"
        f"| summarize given = count(), first_at = min(TimeGenerated), last_at = max(TimeGenerated)\n"
        f"    by {_RIGHT},\n    reason = tostring(event.reason)\n"
        "| order by caller asc, given desc"
    )


def unused_query(days: int, grants: Iterable[tuple[str, Right]]) -> str:
    """Write the query for the grants that nobody has used; it has the grants in it."""
    rows = (", ".join(map(json.dumps, (caller, right.profile, right.tenant, right.scope))) for caller, right in grants)
    used = _ANSWERS.format(days=days).replace("\n", "\n    ")
    return (
        "let grants = datatable(caller: string, profile: string, tenant_id: string, scope: string) [\n    "
        + ",\n    ".join(rows)
        + "\n];\ngrants\n"
        f"| join kind=leftanti (\n    {used}\n    | summarize by {_RIGHT.replace('\n', '\n    ')}\n"
        ") on caller, profile, tenant_id, scope"
    )


def _text(event: Mapping[str, Any], name: str) -> str:
    return str(event.get(name) or "")
