"""`./vend audit`: questions to the audit trail, answered from the log of a `make run` or by a query for Azure."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.differences import Right, rights_of
from cli.documents import Config, read_documents, shown
from cli.event_log import Log, log_of_run, say_query, token_events
from cli.screen import BAD, GOOD, AsJson, counted, misuse, say, say_json, say_table, stop
from cli.trail import Given, given_query, given_since, occasions, unused_query, would_deny_query
from shared.core.policy import Mode

_UTI = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")
_DIGEST = re.compile(r"([0-9a-f]{12}|[0-9a-f]{64})\Z")
"""What `./vend token`, `watch` and the log print of a token: its SHA-256, or the beginning of that."""
_DAY = 24 * 3600


def good_uti(option: typer.CallbackParam, value: str | None) -> str | None:
    """Return the id of a token; end with exit code 2 where it is none."""
    if value is not None and _DIGEST.match(value):
        raise misuse(
            option,
            f"{value} is of the SHA-256 of a token, not its uti",
            "./vend token prints the uti in a line of its own; ./vend audit --given prints both of each token.",
        )
    if value is not None and not _UTI.match(value):
        raise misuse(
            option, "must be the uti of a token", "./vend token shows it; an API's log and Entra's sign-in log have it."
        )
    return value


def audit(
    uti: Annotated[
        str | None,
        typer.Option(
            "--uti", metavar="ID", callback=good_uti, help="Name the callers that got the token of this `uti`."
        ),
    ] = None,
    *,
    given: Annotated[bool, typer.Option("--given", help="Print who got which token, and when.")] = False,
    would_deny: Annotated[
        bool, typer.Option("--would-deny", help='Print whom `mode = "enforce"` would refuse.')
    ] = False,
    unused: Annotated[bool, typer.Option("--unused", help="Print the grants that nobody has used.")] = False,
    days: Annotated[
        int, typer.Option("--days", metavar="DAYS", min=1, max=3650, help="How many days back to look.")
    ] = 90,
    query: Annotated[
        bool, typer.Option("--query", help="Read no log: print the query for Application Insights.")
    ] = False,
    log: Log = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from the log of a `make run`; without a log, print the query for Application Insights.

    Exactly one of --uti, --given, --would-deny and --unused. With --unused it reads the two documents, of which a
    callers document in a blob by your own login.

    Exit code 0: the answer is there, and nobody has to act; or there is no log, and the query was printed. 1: several
    callers share the token of --uti, --would-deny or --unused has found something, or the log has no such event. In the
    last case the query is printed too.
    """
    if [uti is not None, given, would_deny, unused].count(True) != 1:
        raise typer.BadParameter("exactly one is needed", param_hint="--uti, --given, --would-deny, --unused")
    log = None if query else log or log_of_run()
    since = time.time() - days * _DAY
    if uti is not None:
        _token(uti, log, as_json=as_json)
    elif given:
        _given(log, since, given_query(days), as_json=as_json)
    elif would_deny:
        _would_deny(log, since, would_deny_query(days), as_json=as_json)
    else:
        _unused(log, since, config, days=days, as_json=as_json)


def _token(uti: str, log: Path | None, *, as_json: bool) -> None:
    events = token_events(log) if log else iter(())
    given = [event for event in events if event.get("uti") == uti and event.get("outcome") == "vended"]
    callers = dict.fromkeys(str(event.get("caller")) for event in given)
    if as_json and log:
        by_caller = {caller: [event for event in given if event.get("caller") == caller] for caller in callers}
        say_json({"callers": [{"name": caller, **dict(_facts(by_caller[caller]))} for caller in callers]})
        raise typer.Exit(0 if len(callers) == 1 else 1)
    if not given:
        _say_query(query_of_token(uti), log, as_json=as_json)
        return
    for caller in callers:
        say(caller, style=GOOD if len(callers) == 1 else "")
        say_table(_facts([event for event in given if event.get("caller") == caller]))
    if len(callers) > 1:
        raise stop(
            f"{counted(len(callers), 'caller')} share this token: the API's log cannot tell them apart.",
            "share = false of the profile, or of a caller, gives each its own.",
        )


def _say_query(query: str, log: Path | None, *, as_json: bool) -> None:
    if as_json:
        say_json({"query": query})
        raise typer.Exit(0 if log is None else 1)
    say_query(query, log)


def _given(log: Path | None, since: float, query: str, *, as_json: bool) -> None:
    found = list(given_since(log, since)) if log else []
    if not found:
        _say_query(query, log, as_json=as_json)
        return
    if as_json:
        say_json({"given": [_as_json(each) for each in found]})
        return
    _say_grouped(found, lambda each: each.token)


def _would_deny(log: Path | None, since: float, query: str, *, as_json: bool) -> None:
    if log is None:
        _say_query(query, log, as_json=as_json)
        return
    found = [each for each in given_since(log, since) if each.would_deny]
    if as_json:
        say_json({"would_deny": [{**_as_json(each), "reason": each.would_deny} for each in found]})
        raise typer.Exit(1 if found else 0)
    if not found:
        say(f'Nobody in {shown(log)} would be refused by mode = "enforce".', style=GOOD)
        return
    _say_grouped(found, lambda each: each.would_deny)
    raise stop('mode = "enforce" would refuse these.', "To allow what is meant: ./vend callers allow NAME SCOPE")


def _unused(log: Path | None, since: float, config: Path | None, *, days: int, as_json: bool) -> None:
    documents = read_documents(config)
    now = datetime.now(UTC)
    grants = [
        (caller.name, right)
        for caller in documents.callers.callers.values()
        if not caller.is_expired(now)
        for right in sorted(rights_of(replace(caller, mode=Mode.ENFORCE), documents.settings.offers))
    ]
    if log is None:
        _say_query(unused_query(days, grants), log, as_json=as_json)
        return
    answers = list(given_since(log, since))
    used = {(each.caller, each.right) for each in answers}
    begins = min((each.at for each in answers), default=None)
    left = [grant for grant in grants if grant not in used]
    if as_json:
        unused = [{"caller": caller, **asdict(right)} for caller, right in left]
        say_json({"answers_since": begins and begins.isoformat(timespec="seconds"), "unused": unused})
        raise typer.Exit(1 if left else 0)
    say(f"{shown(log)} has answers since {begins:%Y-%m-%d %H:%M} UTC." if begins else f"{shown(log)} has no token.")
    for caller, right in left:
        say(f"{caller}  {right}", style=BAD)
    if left:
        raise stop(
            f"{counted(len(left), 'grant')} {'was' if len(left) == 1 else 'were'} not used.",
            "To take one away: ./vend callers deny NAME SCOPE",
        )
    say("Every grant was used.", style=GOOD)


def _say_grouped(found: Iterable[Given], by: Callable[[Given], str]) -> None:
    """Print each caller with what it got, and below it when, by one thing more."""
    for (caller, right), group in groupby(sorted(found, key=_owner), _owner):
        say(f"{caller}  {right}")
        inner = list(group)
        for key in dict.fromkeys(map(by, inner)):
            say(f"  {key}: {occasions(each for each in inner if by(each) == key)}")


def _as_json(given: Given) -> dict[str, Any]:
    at = given.at.isoformat(timespec="seconds")
    return {"caller": given.caller, **asdict(given.right), "token": given.token, "at": at}


def _owner(given: Given) -> tuple[str, Right]:
    return given.caller, given.right


def _facts(events: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    first, last = events[0], events[-1]
    return [
        ("given", f"{counted(len(events), 'time')}, first {first['time']}, last {last['time']}"),
        ("profile", str(first.get("profile", ""))),
        ("tenant", str(first.get("tenant_id", ""))),
        ("scope", str(first.get("scope", ""))),
    ]


def query_of_token(uti: str) -> str:
    """Write it for the workspace's own tables; anything but the id of a token never gets here."""
    return (
        f'AppTraces | where Message has "{uti}" | extend event = parse_json(Message)'
        f' | where event.event == "token" and event.uti == "{uti}"'
        " | summarize given = count(), first_at = min(TimeGenerated), last_at = max(TimeGenerated)"
        " by tostring(event.caller), tostring(event.scope)"
    )
