"""`./vend audit`: which caller a token was given to, by the id that Entra gave the token."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.event_log import Log, log_of_run, say_query, token_events
from cli.screen import GOOD, AsJson, counted, misuse, say, say_json, say_table, stop

_UTI = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")


def good_uti(option: typer.CallbackParam, value: str) -> str:
    """Return the id of a token; end with exit code 2 where it is none."""
    if not _UTI.match(value):
        raise misuse(option, "must be the uti of a token", "An API's log or Entra's sign-in log has it.")
    return value


def audit(
    uti: Annotated[
        str,
        typer.Option(
            "--uti", metavar="ID", callback=good_uti, help="Of the token: `uti`, the unique token identifier."
        ),
    ],
    log: Log = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Name the callers that got a token, and when; without a log, print the query for Application Insights.

    Exit code 0: one caller got it, or the query was printed. 1: several callers share it, or the log has nothing.
    """
    log = log or log_of_run()
    events = token_events(log) if log else iter(())
    given = [event for event in events if event.get("uti") == uti and event.get("outcome") == "vended"]
    callers = dict.fromkeys(str(event.get("caller")) for event in given)
    if as_json:
        by_caller = {caller: [event for event in given if event.get("caller") == caller] for caller in callers}
        say_json({"callers": [{"name": caller, **dict(_facts(by_caller[caller]))} for caller in callers]})
        raise typer.Exit(0 if len(callers) == 1 else 1)
    if not given:
        say_query(_query(uti), log)
        return
    for caller in callers:
        say(caller, style=GOOD if len(callers) == 1 else "")
        say_table(_facts([event for event in given if event.get("caller") == caller]))
    if len(callers) > 1:
        raise stop(
            f"{counted(len(callers), 'caller')} share this token: the API's log cannot tell them apart.",
            "share = false of the profile, or of a caller, gives each its own.",
        )


def _facts(events: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    first, last = events[0], events[-1]
    return [
        ("given", f"{counted(len(events), 'time')}, first {first['time']}, last {last['time']}"),
        ("profile", str(first.get("profile", ""))),
        ("tenant", str(first.get("tenant_id", ""))),
        ("scope", str(first.get("scope", ""))),
    ]


def _query(uti: str) -> str:
    """Write it for the workspace's own tables; anything but the id of a token never gets here."""
    return (
        f'AppTraces | where Message has "{uti}" | extend event = parse_json(Message)'
        f' | where event.event == "token" and event.uti == "{uti}"'
        " | summarize given = count(), first = min(TimeGenerated), last = max(TimeGenerated)"
        " by tostring(event.caller), tostring(event.scope)"
    )
