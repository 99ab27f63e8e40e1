"""`./vend check`."""

from typing import Annotated

import typer

from cli.documents import Config, NotRead, read_documents
from cli.screen import GOOD, counted, say


def check(
    config: Config = None,
    *,
    remote: Annotated[
        bool, typer.Option("--remote", help="Read a callers document in a blob too: your login goes to that blob.")
    ] = False,
) -> None:
    """Find every mistake in vend.toml and in the callers document that it names.

    Exit code 0: both are good. 1: there are mistakes, each told by its dotted key. A warning is no mistake.

    App settings, ${NAME} in vend.toml, are taken from the environment:
    TENANT_ID=... CLIENT_ID=... ./vend check

    A callers document in a blob is read with --remote alone.
    """
    try:
        documents = read_documents(config, remote=remote)
    except NotRead as good:
        profiles = counted(len(good.settings.profiles), "profile")
        say(f"{good.settings_file} is good: {profiles}.", style=GOOD)
        say(f"{good.callers_file} was not read. --remote reads it, and sends your login there.")
        return
    for warning in documents.callers.warnings:
        say(f"warning: {warning}")
    profiles = counted(len(documents.settings.profiles), "profile")
    callers = counted(len(documents.callers.callers), "caller")
    say(f"{documents.settings_file} and {documents.callers_file} are good: {profiles}, {callers}.", style=GOOD)
