"""`./vend check`."""

from cli.documents import Config, read_documents
from cli.screen import GOOD, counted, say


def check(config: Config = None) -> None:
    """Find every mistake in vend.toml and in the callers document that it names.

    Exit code 0: both are good. 1: there are mistakes, each told by its dotted key. A warning is no mistake.

    App settings, ${NAME} in vend.toml, are taken from the environment:
    TENANT_ID=... CLIENT_ID=... ./vend check
    """
    documents = read_documents(config)
    for warning in documents.callers.warnings:
        say(f"warning: {warning}")
    profiles = counted(len(documents.settings.profiles), "profile")
    callers = counted(len(documents.callers.callers), "caller")
    say(f"{documents.settings_file} and {documents.callers_file} are good: {profiles}, {callers}.", style=GOOD)
