"""The scopes that a caller may have by the two documents, for a command that was given none."""

import shlex
from pathlib import Path

import typer

from cli.documents import Mistaken, examine_documents, readable_scopes, shown, unknown
from cli.event_log import token_events
from cli.screen import complain, say, stop
from shared.core.names import is_default_scope


def first_scope(caller: str, log: Path | None) -> str:
    """Return the first scope of a caller, or end with exit code 1.

    While the documents have mistakes, it is the scope of the last token that the caller got, and is printed on stderr.

    Args:
        caller: whose.
        log: the events of the app; None for none.
    """
    try:
        scopes, _ = _scopes_of(caller)
    except Mistaken as mistaken:
        mistaken.show(error=True)
        if log is None or (last := _last_scope(caller, log)) is None:
            raise _not_known(caller) from None
        say(f"--scope {shlex.quote(last)}, that of the last token of {caller} by {shown(log)}", error=True)
        return last
    return scopes[0]


def only_scope(caller: str) -> str:
    """Return the scope of a caller that has one, and print on stderr which; else end with exit code 1."""
    try:
        scopes, file = _scopes_of(caller)
    except Mistaken as mistaken:
        mistaken.show(error=True)
        raise _not_known(caller) from None
    if len(scopes) > 1:
        complain(f"{caller} may have {len(scopes)} scopes by {file}. Name one of them:")
        _say_options(scopes)
        raise typer.Exit(1)
    say(f"--scope {shlex.quote(scopes[0])}, the only scope of {caller} by {file}", error=True)
    return scopes[0]


def _scopes_of(caller: str) -> tuple[list[str], str]:
    """Return the scopes of a caller, each once and at least one, and the name of the document that has them.

    Raises:
        Mistaken: the documents have mistakes.
    """
    documents = examine_documents(None)
    found = documents.callers.callers.get(caller)
    if found is None:
        ended = unknown(documents, caller)
        say("If the app has other documents, name the scope: --scope SCOPE", error=True)
        raise ended
    if not found.allow:
        raise stop(
            f"{documents.callers_file} gives nothing to {caller}.",
            "If the app has other documents, name the scope: --scope SCOPE",
        )
    scopes = dict.fromkeys(scope for entry in found.allow for scope in entry.scopes)
    return list(scopes), documents.callers_file


def _last_scope(caller: str, log: Path) -> str | None:
    """Return the scope of the last token that a caller got by a log; None if it got none."""
    found = None
    for event in token_events(log):
        scope = event.get("scope")
        if (event.get("caller"), event.get("outcome")) == (caller, "vended") and is_default_scope(str(scope)):
            found = str(scope)
    return found


def _not_known(caller: str) -> typer.Exit:
    """Print that the documents do not tell, and what can be named instead."""
    scopes, file = readable_scopes(None)
    if not scopes:
        return stop(f"The scopes of {caller} are not known.", "Name one: --scope SCOPE")
    complain(f"The scopes of {caller} are not known. Name one of {file}:")
    _say_options(scopes)
    return typer.Exit(1)


def _say_options(scopes: list[str]) -> None:
    for scope in scopes:
        say(f"--scope {shlex.quote(scope)}", error=True)
