"""`--help`: what there is, in whole sentences."""

import re

import pytest

from cli.__main__ import app, callers
from tests.cli.conftest import Run
from tests.cli.test_misuse import COMMANDS

GROUPS = {(): app, ("callers",): callers}


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_the_list_of_commands_is_not_cut(run: Run, group: tuple[str, ...]) -> None:
    """Each has its line, which ends with a full stop in a terminal of 80 columns."""
    shown = run(*group, "--help", COLUMNS="80").stdout
    lines = shown.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(GROUPS[group].registered_commands) + len(GROUPS[group].registered_groups)
    assert [line for line in lines if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_value_is_named_by_what_it_is(run: Run, command: tuple[str, ...]) -> None:
    """FILE, NAME or SCOPE, and no type of Python, such as `<str>`."""
    assert re.findall(r"<[a-z|]+[^>]*>", run(*command, "--help").stdout) == []
