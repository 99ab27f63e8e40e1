"""`./vend watch`: the events of a `make run` as they come, and beside them what one caller sees each second."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import httpx
import typer

from cli.documents import shown
from cli.duration import Lasts, duration
from cli.event_line import event_line, is_bad, parse_event
from cli.event_log import Log, log_of_run
from cli.http import NoAnswer, Secret, check_address, function_key, json_object, send
from cli.keys import LOCAL_APP, App, key_of
from cli.names import SCOPE, good_names, good_scopes
from cli.own_scopes import first_scope
from cli.patience import patience_of
from cli.screen import BAD, GOOD, say, stop
from cli.token import Vended, when_to_repeat

LOOK_SECONDS = 0.2
ASK_SECONDS = 1.0
ENDED = "Stopped; "
"""How the last line of a host begins."""


def watch(
    context: typer.Context,
    caller: Annotated[
        str | None, typer.Argument(metavar="CALLER", callback=good_names, help="Ask as this caller, once a second.")
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope", metavar=SCOPE, callback=good_scopes, help="What CALLER asks for. Without it: its first scope."
        ),
    ] = None,
    time: Lasts = "",
    log: Log = None,
    app: App = LOCAL_APP,
) -> None:
    """Show each event of a `make run` in a line, as it comes; with CALLER, also what that caller gets each second.

    Beside `./vend break` it shows what callers notice. Times are in UTC. An app in Azure has its events in Application
    Insights, so there only the answers to CALLER are shown.

    Exit code 0: the time is over, the app has stopped, or Ctrl-C was pressed. 1: there is nothing to watch.
    """
    lasts, address = duration(time), check_address(app, at="--app")
    log = log or log_of_run()
    if log is None and caller is None:
        raise stop(
            "There is no log of a `make run` here.",
            "Start one: make run. For another log: --log FILE. To ask an app as a caller: ./vend watch CALLER",
        )
    seen = _Caller(caller, scope or first_scope(caller, log), address) if caller else None
    say(f"Watching {' and '.join(_watched(log, seen))}. Ctrl-C ends it.")
    with suppress(KeyboardInterrupt):
        _watch(context, log, seen, lasts)


def _watched(log: Path | None, seen: "_Caller | None") -> Iterator[str]:
    if log is not None:
        yield shown(log)
    if seen is not None:
        yield f"{seen.name}, who asks for {seen.scope} each second"


def _watch(context: typer.Context, log: Path | None, seen: "_Caller | None", lasts: timedelta | None) -> None:
    patience = patience_of(context)
    lines = _lines(log) if log else iter(lambda: "", None)
    due = patience.clock()
    end = due + lasts.total_seconds() if lasts else float("inf")
    while patience.clock() < end:
        if seen is not None and patience.clock() >= due:
            seen.ask(datetime.fromtimestamp(patience.now(), UTC))
            due += ASK_SECONDS
        while line := next(lines):
            if line.startswith(ENDED):
                say("The app has stopped.", style=BAD)
                return
            _show(line, seen)
        patience.sleep(LOOK_SECONDS)


def _show(line: str, seen: "_Caller | None") -> None:
    event = parse_event(line)
    if event is None:
        say(line)  # of the host, or of a library
    elif seen is None or is_bad(event) or (event["event"], event.get("caller")) != ("token", seen.name):
        say(event_line(event), style=BAD if is_bad(event) else "")


def _lines(log: Path) -> Iterator[str]:
    """Yield each line that is written from now on, and "" while there is none; never half a line."""
    try:
        file = log.open(errors="replace")
    except OSError as error:
        raise stop(f"{shown(log)} cannot be read ({type(error).__name__})") from None
    with file:
        file.seek(0, os.SEEK_END)
        rest = ""
        while True:
            rest += file.readline()
            if rest.endswith("\n"):
                line, rest = rest.rstrip(), ""
                if line:
                    yield line
            else:
                yield ""


class _Caller:
    """A caller that asks for one scope again and again."""

    def __init__(self, name: str, scope: str, address: str) -> None:
        self.name = name
        self.scope = scope
        self._address = address
        self._secret: Secret = function_key(key_of(name, app=address), app=address)

    def ask(self, now: datetime) -> None:
        """Ask once, and print what came."""
        form = {"grant_type": "client_credentials", "scope": self.scope}
        line = f"{now:%H:%M:%S} {self.name} sees"
        try:
            answer = send(httpx.Request("POST", f"{self._address}/api/token", data=form), secret=self._secret)
        except NoAnswer as failure:
            say(f"{line} nothing: {failure}", style=BAD)
            return
        body = json_object(answer.content)
        took = f"{answer.elapsed.total_seconds() * 1000:.0f} ms"
        match answer.status_code, body:
            case HTTPStatus.OK, {"access_token": str(token), "token_source": str(source), "expires_in": int(left)}:
                vended = Vended(token, source, left)
                say(f"{line} 200 {source} {took}, {left} s left, {vended.sha256[:12]}", style=GOOD)
            case status, _:
                again = when_to_repeat(answer, body)
                say(f"{line} {status} {body.get('error', '')} {took}{again and f', retry {again}'}", style=BAD)
