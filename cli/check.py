"""`./vend check`."""

from typing import Annotated

import typer

from cli.documents import Config, Mistaken, NotRead, examine_documents
from cli.screen import GOOD, AsJson, counted, say, say_json


def check(
    config: Config = None,
    *,
    remote: Annotated[
        bool, typer.Option("--remote", help="Read a callers document in a blob too: your login goes to that blob.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find every mistake in vend.toml and in the callers document that it names.

    Exit code 0: both are good. 1: there are mistakes, each told by its dotted key. A warning is no mistake.

    App settings, ${NAME} in vend.toml, are taken from the environment:
    TENANT_ID=... CLIENT_ID=... ./vend check

    A callers document in a blob is read with --remote alone.
    """
    try:
        documents = examine_documents(config, remote=remote)
    except Mistaken as found:
        if as_json:
            mistakes = [_placed(file, each) for file, mistakes in found.by_file.items() for each in mistakes]
            say_json({"good": False, "mistakes": mistakes, "warnings": list(found.warnings)})
        else:
            found.show()
        raise typer.Exit(1) from None
    except NotRead as good:
        number = len(good.settings.profiles)
        if as_json:
            warnings = good.settings.warnings
            say_json({"good": True, "mistakes": [], "warnings": warnings, "profiles": number, "callers": None})
            return
        _warn(good.settings.warnings)
        say(f"{good.settings_file} is good: {counted(number, 'profile')}.", style=GOOD)
        say(f"{good.callers_file} was not read. --remote reads it, and sends your login there.")
        return
    profiles, callers = len(documents.settings.profiles), len(documents.callers.callers)
    warnings = [*documents.settings.warnings, *documents.callers.warnings]
    if as_json:
        say_json({"good": True, "mistakes": [], "warnings": warnings, "profiles": profiles, "callers": callers})
        return
    _warn(warnings)
    has = f"{counted(profiles, 'profile')}, {counted(callers, 'caller')}"
    say(f"{documents.settings_file} and {documents.callers_file} are good: {has}.", style=GOOD)


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


def _placed(file: str, mistake: str) -> dict[str, str]:
    """Part a mistake from its dotted key, in which no colon stands."""
    at, colon, what = mistake.partition(": ")
    return {"file": file, "at": at if colon else "", "what": what if colon else mistake}
