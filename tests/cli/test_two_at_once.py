"""Two operators give a key to one caller at the same time: the host knows no condition, so that one key can be lost."""

import re

import pytest

from tests.cli.desk import ADD, Desk
from tests.cli.wire import Wire

ROLL = ("callers", "roll", "billing")
COMMANDS = pytest.mark.parametrize("command", [ADD, ROLL], ids=["add", "roll"])


class Other:
    """Another operator, who gives the same command in the midst of the first one."""

    def __init__(self, desk: Desk, command: tuple[str, ...]) -> None:
        self._desk = desk
        self._command = command
        self.codes: list[int] = []
        self.output = ""

    def run(self) -> None:
        """Give it."""
        done = self._desk.do(*self._command)
        self.codes.append(done.exit_code)
        self.output += done.output


def check(desk: Desk, code: int, output: str, other: Other) -> bool:
    """See that a lost key was told with its cure, and that the cure mends it; return whether one was lost."""
    codes, output = {code, *other.codes}, output + other.output
    lost = desk.without_key
    if not lost:
        assert 0 in codes, output
        return False
    told = re.search(r"^For a new one: ./vend (callers rekey .*)$", output, re.MULTILINE)
    assert told, output
    assert (set(told[1].split()[2:]), 1 in codes) == (lost, True)
    keys = {name: len(entry["key_sha256"]) for name, entry in desk.callers.items()}
    mended = desk.do(*told[1].split())
    assert mended.exit_code == 0, mended.output
    desk.check_keys()
    assert {name: len(entry["key_sha256"]) for name, entry in desk.callers.items()} == keys
    return True


@pytest.mark.slow
@COMMANDS
@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_key_that_replaced_another_is_told_with_its_cure(desk: Desk, wire: Wire, command: tuple[str, ...]) -> None:
    """The other command is done when the first one makes its key, under the same name."""
    other = Other(desk, command)
    wire.before(0, other.run, method="POST")
    done = desk.do(*command)
    assert other.codes == [0]
    assert check(desk, done.exit_code, done.output, other)


@pytest.mark.nightly
@COMMANDS
def test_a_key_that_is_lost_at_any_moment_is_told(desk: Desk, wire: Wire, command: tuple[str, ...]) -> None:
    """The other command goes on before each request of the first one."""
    start, keys, nth, losses = desk.document, desk.keys.read(), 0, 0
    while True:
        other = Other(desk, command)
        wire.before(nth, other.run)
        done = desk.do(*command)
        wire.before(None)
        if not other.codes:
            break
        losses += check(desk, done.exit_code, done.output, other)
        desk.document = start
        desk.keys.write(keys)
        nth += 1
    assert nth >= 5
    assert losses
