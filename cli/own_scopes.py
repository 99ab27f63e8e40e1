"""The scopes that a caller may have by the two documents, for a command that was given none."""

import shlex

import typer

from cli.documents import Mistaken, examine_documents
from cli.screen import complain, say, stop


def first_scope(caller: str) -> str:
    """Return the first scope of a caller, or end with exit code 1."""
    scopes, _ = _scopes_of(caller)
    return scopes[0]


def only_scope(caller: str) -> str:
    """Return the scope of a caller that has one, and print on stderr which; else end with exit code 1."""
    scopes, file = _scopes_of(caller)
    if len(scopes) > 1:
        complain(f"{caller} may have {len(scopes)} scopes by {file}. Name one of them:")
        for scope in scopes:
            say(f"--scope {shlex.quote(scope)}", error=True)
        raise typer.Exit(1)
    say(f"--scope {shlex.quote(scopes[0])}, the only scope of {caller} by {file}", error=True)
    return scopes[0]


def _scopes_of(caller: str) -> tuple[list[str], str]:
    """Return the scopes of a caller, each once and at least one, and the name of the document that has them."""
    try:
        documents = examine_documents(None)
    except Mistaken as mistaken:
        mistaken.show(error=True)
        raise stop(f"The scopes of {caller} are not known.", "Name one: --scope SCOPE") from None
    found = documents.callers.callers.get(caller)
    if found is None or not found.allow:
        has = "has no caller" if found is None else "gives nothing to"
        raise stop(
            f"{documents.callers_file} {has} {caller}.", "./vend callers list shows the callers. Or: --scope SCOPE"
        )
    scopes = dict.fromkeys(scope for entry in found.allow for scope in entry.scopes)
    return list(scopes), documents.callers_file
