"""Prints for commands: results to stdout, errors to stderr, one thing a line, coloured only in a terminal.

Much of it was written by others, such as the claims of a token: what could steer a terminal becomes a question mark.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

GOOD, BAD = "green", "red"

AsJson = Annotated[bool, typer.Option("--json", help="Print the same as JSON.")]


def _text(line: str, *, style: str = "") -> Text:
    return Text("".join(char if char.isprintable() else "?" for char in line), style=style)


def say(line: str = "", *, style: str = "", error: bool = False) -> None:
    """Print one line, never folded; `NO_COLOR` and pipes take its colour away."""
    console = Console(stderr=error, soft_wrap=True)
    console.print(_text(line, style=style))


def say_table(rows: Iterable[tuple[str, str]], *, error: bool = False) -> None:
    """Print names and what they stand for, in two columns; a row without a value is left out."""
    shown = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        say(f"{name:{width}}  {value}", error=error)


def say_json(facts: object) -> None:
    """Print facts as one line of ASCII JSON, for a program."""
    typer.echo(json.dumps(facts))


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show one line that changes while a command waits; on stderr, and in a terminal alone."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda line: status.update(_text(line))


def complain(what: str, hint: str = "") -> None:
    """Print an error and a hint."""
    say(what, style=BAD, error=True)
    if hint:
        say(hint, error=True)


def stop(what: str, hint: str = "") -> typer.Exit:
    """Print an error and a hint; raise what it returns to end the command with exit code 1."""
    complain(what, hint)
    return typer.Exit(1)


def misuse(option: str | typer.CallbackParam, rule: str, hint: str = "") -> typer.Exit:
    """Print which option is malformed, and a hint; raise what it returns to end the command with exit code 2."""
    name = option if isinstance(option, str) else next(iter(option.opts), "")
    if not isinstance(option, str) and not name.startswith("-"):
        name = str(option.metavar)  # an argument, as the help calls it
    stop(f"{name}: {rule}", hint)
    return typer.Exit(2)


def counted(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
