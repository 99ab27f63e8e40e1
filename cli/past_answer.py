"""`./vend callers explain --correlation-id`: why the app answered as it did, from the event that it wrote then."""

from pathlib import Path

import typer

from cli.event_log import log_of_run, say_query, token_events
from cli.reasons import explained
from cli.screen import BAD, GOOD, misuse, say, say_json, say_table
from shared.core.names import is_guid

FACTS = ("time", "route", "caller", "scope", "profile", "tenant_id", "source", "reason")


def good_id(option: typer.CallbackParam, value: str | None) -> str | None:
    """Return the id of an answer, in lower case; end with exit code 2 where it is no GUID."""
    if value is not None and not is_guid(value):
        raise misuse(option, "must be the GUID of an answer", "It is in its body: correlation_id.")
    return value.lower() if value else value


def explain_past(correlation_id: str, log: Path | None, *, as_json: bool = False) -> None:
    """Print what the log has about one answer, and the next step; without a log, the query for Application Insights.

    Exit code 0: a token was given, or there is no log. 1: none was given, or the log has nothing about it.
    """
    log = log or log_of_run()
    events = token_events(log) if log else iter(())
    event = next((found for found in events if found.get("correlation_id") == correlation_id), None)
    if event is None:
        if as_json:
            say_json({"given": None, "query": query_of_answer(correlation_id)})
            raise typer.Exit(0 if log is None else 1)
        say_query(query_of_answer(correlation_id), log)
        return
    given = event.get("outcome") == "vended"
    if as_json:
        meaning, remedy = ("", "") if given else explained(event)
        say_json({"given": given, "event": event, "meaning": meaning, "remedy": remedy})
        raise typer.Exit(0 if given else 1)
    say("given" if given else "refused", style=GOOD if given else BAD)
    rows = [(name.removesuffix("_id"), str(event.get(name, ""))) for name in FACTS]
    answer = ("answer", f"{event.get('status', '')} {event.get('outcome', '')}")
    meaning, remedy = ("", "") if given else explained(event)
    say_table([*rows[:-1], answer, rows[-1], ("meaning", meaning), ("next", remedy)])
    if not given:
        raise typer.Exit(1)


def query_of_answer(correlation_id: str) -> str:
    """Write it for the workspace's own tables; an id that is no GUID never gets here."""
    return (
        f'AppTraces | where Message has "{correlation_id}" | extend event = parse_json(Message)'
        " | project TimeGenerated, event.event, event.caller, event.scope, event.status, event.outcome, event.reason"
    )
