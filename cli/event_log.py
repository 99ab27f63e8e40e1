"""The events that the app has logged: those of a `make run` lie in a file, those in Azure behind a query."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.documents import ROOT, default_config, shown
from cli.event_line import parse_event
from cli.screen import BAD, say, stop

Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Where the app's events are; without it, that of `make run`."),
]


def log_of_run() -> Path | None:
    """Return the log of a `make run`; None if there is none."""
    made = default_config(os.environ, root=ROOT).parent / "app.log"
    return made if made.exists() else None


def say_query(query: str, log: Path | None) -> None:
    """Print the query for Application Insights; end with exit code 1 where a log was read that has nothing."""
    if log is None:
        say("Run this in the logs of the workspace vend-logs; an event takes some minutes to arrive:")
        _say_lines(query)
        return
    say(
        f"{shown(log)} has no such event. For an app in Azure, run this in the logs of the workspace vend-logs:",
        style=BAD,
    )
    _say_lines(query)
    raise typer.Exit(1)


def _say_lines(text: str) -> None:
    for line in text.splitlines():
        say(line)


def token_events(log: Path) -> Iterator[Mapping[str, Any]]:
    """Return the events of answers to requests for tokens; end with exit code 1 if the log cannot be read."""
    try:
        with log.open(errors="replace") as lines:
            for line in lines:
                event = parse_event(line)
                if event is not None and event["event"] == "token":
                    yield event
    except OSError as error:
        raise stop(f"{shown(log)} cannot be read ({type(error).__name__})") from None
