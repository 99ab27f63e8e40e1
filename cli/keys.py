"""Where the function key of a caller comes from: never from the command line, which every process can read."""

import getpass
import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.documents import ROOT, RUNNING, Mistaken, NotRead, examine_documents, unknown
from cli.running import address_of_run, unless_named
from cli.screen import complain, say, stop
from shared.core.errors import UnknownCaller
from shared.core.origins import origin_of
from shared.core.policy import EVERYBODY
from shared.core.request import key_in_header

LOCAL_APP = "http://localhost:7071"
"""The address that `make run` serves."""

App = Annotated[
    str,
    typer.Option(
        "--app",
        metavar="URL",
        envvar="VEND_URL",
        callback=unless_named("app"),
        help="Where vend runs. Without it: the app of `make run`.",
    ),
]


def key_of(caller: str, *, app: str) -> str:
    """Find the key, or ask for it without echo; end with exit code 1 if there is none, or it is no key.

    Args:
        caller: whose.
        app: where it will be sent; the keys that `make run` made are for its own app.
    """
    key, source = _find(caller, app=app)
    try:
        return key_in_header({"key": key}, "key")
    except UnknownCaller:
        raise stop(
            f"There is no usable key in {source}.",
            "A key has 16 to 512 visible ASCII characters, no comma.",
        ) from None


def key_digest(key: str) -> str:
    """Return what the callers document has of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _find(caller: str, *, app: str) -> tuple[str, str]:
    made = ROOT / RUNNING / f"{caller}.key"
    asked, local = origin_of(app), origin_of(address_of_run("app") or LOCAL_APP)
    if asked and local and asked.is_loopback and asked.port == local.port and made.exists():
        return _read(made), str(RUNNING / made.name)
    if file := os.environ.get("VEND_KEY_FILE"):
        return _read(Path(file)), "the file that VEND_KEY_FILE names"
    if key := os.environ.get("VEND_KEY"):
        return key.strip(), "VEND_KEY"
    put = "put the key into a file and the path of that file into VEND_KEY_FILE, or the key into VEND_KEY."
    hint = f"If you have it, {put}"
    if app == LOCAL_APP and not made.parent.exists():
        complain("`make run` is not running here, and no other app is named.")
        hint = f"Start it: make run. For another app, name it by --app URL or VEND_URL, and {put}"
    elif asked and asked.is_loopback and (ended := _no_such_caller(caller)):
        say(f"If the app has other documents, {put}", error=True)
        raise ended
    if not sys.stdin.isatty():
        raise stop(f"There is no key for {caller}.", hint)
    return getpass.getpass(f"Function key of {caller} (not shown): ").strip(), "your answer"


def _no_such_caller(caller: str) -> typer.Exit | None:
    """Print that the documents of this machine have no such caller; None where they have it, or cannot be read."""
    try:
        documents = examine_documents(None, remote=False, to_mend=True)
    except (Mistaken, NotRead):
        return None
    callers = documents.callers
    is_known = {caller, EVERYBODY} & {*callers.callers, *callers.refused}
    return None if is_known else unknown(documents, caller)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise stop(f"{file} cannot be read ({type(error).__name__})") from None
