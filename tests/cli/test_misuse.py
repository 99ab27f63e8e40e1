"""A malformed value of an option is a command that was not understood: exit code 2, before anything is read or sent."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from cli.__main__ import app
from tests.cli.conftest import SCOPE, Run

ID = "00247c49-88b0-4b49-83e1-d12496541153"
MALFORMED = {
    "--accept-loss": ("users", ""),
    "--allow": ("https://graph.microsoft.com", "x y/.default", ""),
    "--app": ("HTTP://vend.example", "vend.example", "https://vend.example/api", "https://a@vend.example", ""),
    "--control": ("http://cloud.example", "8440"),
    "--correlation-id": ("x", f"{ID}0", f"{{{ID}}}"),
    "--days": ("0", "-1", "1.5", "90d", "3651"),
    "--for": ("5", "0s", "25h", "-5m", "5m\n"),
    "--how": ("slowly", "200", "600"),
    "--identity-file": ("/nowhere/token", "/"),
    "--mode": ("open", "AUDIT"),
    "--not-after": ("tomorrow", "2027-13-01", "0001-01-01T00:00+01:00", "9999-12-31T23:59-23:59"),
    "--rate": ("0", "-1", "1.5", "\u0661", "1" * 10),
    "--resource-id": ("/x", f"/subscriptions/{ID}/resourceGroups/g/providers/Microsoft.Web/sites/a/b"),
    "--scope": ("https://graph.microsoft.com", "User.Read", "a b/.default", f"api://{'a' * 1024}/.default"),
    "--stream": ("devices", ""),
    "--tenant": ("common", "contoso.com", f"{ID}\n", "*"),
    "--uti": ("", "short", "50e71c9c1419", "0" * 64, 'aZ09_-8vQUWF" or true', "aZ09_-8vQUWF\n"),
    "CALLER": (SCOPE, "a/b"),
    "FILE": ("/nowhere/wanted.toml", "/"),
    "NAME": (SCOPE, "a/b"),
    "SCOPE": ("https://graph.microsoft.com",),
}
ANYTHING = {"--as", "--config", "--key-file", "--key-folder", "--log", "--profile"}
"""Names and paths: each text can be one, and whether it is there is another question."""
GOOD = {
    "--allow": SCOPE, "--scope": SCOPE, "NAME": "billing", "CALLER": "billing", "PART": "entra", "SCOPE": SCOPE,
    "FILE": "callers.toml.example",
    "-- CMD": "true", "--as": "operator", "--uti": "aZ09_-8vQUWFvJk1E2cAAA",
}  # fmt: skip
WORDS = {"PART", "-- CMD"}
"""Arguments that name something, which may not be there: that is exit code 1."""


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  # typer's own click
    """List every command with its words."""
    if isinstance(group, TyperGroup):
        for name, command in group.commands.items():
            yield from commands(command, *names, name)
    else:
        yield names, group


def called(parameter: Any) -> str:  # noqa: ANN401  # as above
    """Return the name of an option, or what the help calls an argument."""
    return parameter.opts[0] if isinstance(parameter, TyperOption) else str(parameter.metavar)


def takes_many(command: Any) -> bool:  # noqa: ANN401  # as above
    """Return whether an argument takes every word that is left."""
    return any(each.nargs < 0 for each in command.params)


COMMANDS = dict(commands(typer.main.get_command(app)))
VALUES = [
    (words, called(parameter))
    for words, command in COMMANDS.items()
    for parameter in command.params
    if not (isinstance(parameter, TyperOption) and (parameter.is_flag or parameter.name == "help"))
]
CASES = [(words, name, value) for words, name in VALUES for value in MALFORMED.get(name, ())]


def test_every_value_has_its_row() -> None:
    """A new option is either free text, or has malformed values above."""
    assert {name for _, name in VALUES} <= MALFORMED.keys() | ANYTHING | WORDS


def filled(words: tuple[str, ...]) -> list[str]:
    """Return a value for each argument of a command, and for each option that it cannot do without."""
    given: list[str] = []
    for parameter in COMMANDS[words].params:
        is_option = isinstance(parameter, TyperOption)
        if parameter.required or not is_option:
            given += [called(parameter)] if is_option else []
            given += [GOOD[called(parameter)]]
    return given


@pytest.mark.parametrize(("words", "name", "value"), CASES, ids=[f"{' '.join(w)} {n} {v[:30]!r}" for w, n, v in CASES])
def test_a_malformed_value_is_not_understood(run: Run, words: tuple[str, ...], name: str, value: str) -> None:
    """Whatever else is wrong: there is no document here, no app, no key, no login and no local cloud."""
    given: list[str] = []
    for parameter in COMMANDS[words].params:
        each = called(parameter)
        if each == name or parameter.required:
            given += [each] if isinstance(parameter, TyperOption) else []
            given += [value if each == name else GOOD[each]]
    if words == ("callers", "explain"):
        given += [] if name == "NAME" else ["billing"]
        given += [] if name in {"--scope", "--correlation-id"} else ["--scope", SCOPE]
    if words == ("callers", "rekey") and name != "NAME":
        given += ["--all"]
    if words == ("callers", "set"):
        given += ["--mode", "audit"] if name != "--mode" else []
    done = run(*words, *given, VEND_CONFIG="/nowhere/vend.toml", PATH="")
    assert done.exit_code == 2, done.output
    assert name.removesuffix("...") in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "words", [words for words, command in COMMANDS.items() if not takes_many(command)], ids=" ".join
)
def test_an_argument_too_many_is_told_what_the_command_takes(run: Run, words: tuple[str, ...]) -> None:
    """With every option by its name. The argument itself, which can be a key or a token, is not shown."""
    done = run(*words, *filled(words), "C4N4RY", VEND_CONFIG="/nowhere/vend.toml", PATH="")
    said, right = done.stderr.splitlines()
    path = " ".join(("./vend", *words))
    assert (done.exit_code, done.stdout) == (2, "")
    assert said.startswith(f"{path}: 1 argument too many")
    assert right.startswith(f"Write {path} ")
    options = {each.opts[0] for each in COMMANDS[words].params if isinstance(each, TyperOption)}
    assert set(re.findall(r"--[a-z-]+", right)) == options
    assert "C4N4RY" not in done.output
