"""`./vend callers list`."""

from datetime import UTC, datetime, timedelta

import typer

from cli.documents import Config, read_documents
from cli.patience import patience_of
from cli.screen import AsJson, counted, say, say_json
from shared.core.notice import NOTICE_DAYS
from shared.core.policy import EVERYBODY, Caller, Mode

NEAR = timedelta(days=max(NOTICE_DAYS))
"""How long before its end a caller is marked: from when the app tells of it, too."""


def show(context: typer.Context, config: Config = None, *, as_json: AsJson = False) -> None:
    """List the callers, one in a line: keys, limits, and what each may have.

    A line tells where the time of a caller is over, or ends within 30 days.

    What is wrong with the document, ./vend check says.
    """
    documents = read_documents(config)
    callers = documents.callers.callers
    if as_json:
        say_json([_facts(caller) for caller in callers.values()])
        return
    now = datetime.fromtimestamp(patience_of(context).now(), UTC)
    width = max(map(len, callers), default=0)
    for name, caller in callers.items():
        say(f"{name:{width}}  {', '.join(_limits(caller, now=now))}  {_allowed(caller)}")
    if not callers:
        say("Nobody: no callers, no tokens.")


def _facts(caller: Caller) -> dict[str, object]:
    """Return what an entry says, without the hashes of its keys."""
    return {
        "name": caller.name,
        "keys": len(caller.key_sha256),
        "identities": len(caller.identity),
        "not_after": caller.not_after.isoformat() if caller.not_after else None,
        "per_worker_per_minute": caller.per_worker_per_minute,
        "mode": caller.mode.value,
        "admin": caller.admin,
        "allow": [
            {"profile": each.profile, "scopes": list(each.scopes), "tenants": list(each.tenants)}
            for each in caller.allow
        ],
    }


def _limits(caller: Caller, *, now: datetime) -> list[str]:
    facts = [counted(len(caller.key_sha256), "key")] if caller.name != EVERYBODY else ["every other key of the host"]
    if caller.identity:
        facts.append(counted(len({each.issuer for each in caller.identity}), "issuer"))
    if caller.not_after:
        facts.append(f"until {caller.not_after:%Y-%m-%d %H:%M %Z}{_warning(caller.not_after - now)}")
    if caller.per_worker_per_minute:
        facts.append(f"{caller.per_worker_per_minute} a minute per worker")
    if caller.mode is Mode.AUDIT:
        facts.append("audit")
    if caller.admin:
        facts.append("admin")
    return facts


def _warning(left: timedelta) -> str:
    if left <= timedelta():
        return " (over: it is refused)"
    return f" (ends in {counted(left.days, 'day')})" if left < NEAR else ""


def _allowed(caller: Caller) -> str:
    entries = (
        f"{entry.profile}: {' '.join(entry.scopes)}" + (f" in {' '.join(entry.tenants)}" if entry.tenants else "")
        for entry in caller.allow
    )
    return "; ".join(entries) or "nothing"
