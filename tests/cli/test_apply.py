"""`./vend apply` and `./vend callers rekey`: many callers at once, against the document and the keys of a host."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from emulator.tour.site import SCOPE
from tests.cli.desk import OLD, Desk, sha256
from tests.cli.wire import Wire

IDENTITY = 'identity = [{ issuer = "cluster", subject = "system:serviceaccount:billing:billing" }]'
ALLOW = f'allow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]'
KEPT = f"[callers.billing]\nkey = true\n{IDENTITY}\n{ALLOW}\n"
NEW = ("exports", "imports", "reports")
WANTED = f"# Of team A.\n{KEPT}" + "".join(f"\n[callers.{name}] # new\n{ALLOW}\n" for name in NEW)
STAYS = "key-of-a-probe-that-vend-did-not-make"
at_some_requests = pytest.mark.parametrize(
    ("desk", "step"),
    [
        ("Azure", 4),
        pytest.param("Azure", 1, marks=pytest.mark.nightly),
        pytest.param("make run", 1, marks=pytest.mark.nightly),
    ],
    indirect=["desk"],
)
"""A run is killed before each fourth request by day, and before each one at night."""


class Killed(BaseException):
    """The end of the process, at a moment that it did not choose."""


def killed() -> None:
    """End the process."""
    raise Killed


@pytest.fixture
def shop(desk: Desk) -> Iterator[Desk]:
    """A desk with a caller that is to go, a key that is not vend's, and a log in which nobody was seen."""
    keys = desk.keys.read()
    keys.functionKeys.update({"vend-gone": "the-key-of-who-is-to-go", "probe": STAYS})
    desk.keys.write(keys)
    desk.document += f'\n[callers.gone]\nkey_sha256 = ["{sha256("the-key-of-who-is-to-go")}"]\n{ALLOW}\n'
    (desk.folder / "app.log").write_text("")
    (desk.folder / "wanted.toml").write_text(WANTED)
    (desk.folder / "keys").mkdir()
    yield desk
    # Whatever happened: a caller of the document has its key at the host.
    desk.check_keys()


def apply(desk: Desk, *words: str) -> tuple[int, str]:
    """Run it."""
    folder = desk.folder
    done = desk.do("apply", str(folder / "wanted.toml"), "--key-folder", str(folder / "keys"), *words)
    return done.exit_code, done.output


def check_applied(desk: Desk) -> None:
    """See that everything is as it is wanted, and the callers have their keys."""
    entries = desk.callers
    wanted = tomllib.loads((desk.folder / "wanted.toml").read_text())["callers"]
    for entry in wanted.values():
        entry.pop("key", None)
    assert {name: {k: v for k, v in entry.items() if k != "key_sha256"} for name, entry in entries.items()} == wanted
    assert entries["billing"]["key_sha256"] == [sha256(OLD)]
    files = {file.stem: file for file in (desk.folder / "keys").iterdir()}
    assert files.keys() == set(NEW)
    for name, file in files.items():
        assert (entries[name]["key_sha256"], file.stat().st_mode & 0o777) == ([sha256(file.read_text())], 0o600)
    of_callers = {digest for entry in entries.values() for digest in entry["key_sha256"]}
    assert set(map(sha256, desk.held.values())) == {*of_callers, sha256(STAYS)}


def test_one_command_makes_many_callers(shop: Desk) -> None:
    """The words of the wanted document stay, its comments too; applied once more it changes nothing."""
    code, output = apply(shop)
    assert code == 0, output
    check_applied(shop)
    assert shop.document.startswith("generation = 1\n# Of team A.\n")
    assert "In force on 3 workers seen; " in output
    assert "3 keys of 3 work." in output
    before, held = shop.document, shop.held
    code, output = apply(shop)
    assert (code, shop.document, shop.held) == (0, before, held), output
    assert "Nothing to change.\n" in output
    assert "No changes.\n" in shop.do("plan", str(shop.folder / "wanted.toml")).output


@pytest.mark.slow
@at_some_requests
def test_it_is_killed_before_each_request_and_repeated(shop: Desk, wire: Wire, step: int) -> None:
    """Wherever it ends, each caller of the document has its key, and the repeat ends in the same state."""
    start, keys, nth = shop.document, shop.keys.read(), 0
    while True:
        wire.before(nth, killed)
        try:
            apply(shop)
        except Killed:
            shop.check_keys()
        else:
            break
        wire.before(None)
        code, output = apply(shop)
        assert code == 0, f"killed before request {nth}: {output}"
        check_applied(shop)
        shop.document = start
        shop.keys.write(keys)
        for file in (shop.folder / "keys").iterdir():
            file.unlink()
        nth += step
    assert nth - step >= 9  # so many requests were counted, and one more
    check_applied(shop)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_two_runs_at_once_leave_no_caller_without_its_key(shop: Desk, wire: Wire) -> None:
    """Another run goes on before each request of the first: whichever writes the document has its keys at the host.

    The host knows no condition: a key that is made in the moment between is replaced, and that is told with its cure.
    """
    other, fresh = shop.folder / "other", shop.folder / "fresh"
    other.mkdir()
    fresh.mkdir()
    start, keys, nth = shop.document, shop.keys.read(), 0
    runs: list[int] = []

    def run() -> None:
        words = ("apply", str(shop.folder / "wanted.toml"), "--key-folder", str(other))
        runs.append(shop.do(*words).exit_code)
        shop.check_keys()

    while True:
        runs.clear()
        wire.before(nth, run)
        code, output = apply(shop)
        if not runs:
            break
        if lost := shop.without_key:
            told = re.search(r"^For a new one: ./vend (callers rekey .*)$", output, re.MULTILINE)
            assert told, output
            assert set(told[1].split()[2:]) == lost
            assert shop.do(*told[1].split(), "--key-folder", str(fresh)).exit_code == 0
            shop.check_keys()
        assert 0 in {code, *runs}, f"before request {nth}: {output}"
        wire.before(None)
        folders = (other, shop.folder / "keys", fresh)
        found = {sha256(file.read_text()) for folder in folders for file in folder.iterdir()}
        assert {digest for name in NEW for digest in shop.callers[name]["key_sha256"]} <= found
        assert "gone" not in shop.callers
        shop.document = start
        shop.keys.write(keys)
        for folder in folders:
            for file in folder.iterdir():
                file.unlink()
        nth += 1
    assert nth >= 10


def test_another_operator_meanwhile_is_not_overwritten(shop: Desk) -> None:
    """The plan was not made of that document: nothing is written, and the new keys go again."""
    shop.interfere(lambda text: text.replace("[callers.gone]", "[callers.gone]\nper_worker_per_minute = 5"))
    held = shop.held
    code, output = apply(shop)
    assert (code, shop.held, "has changed since this plan was made." in output) == (1, held, True), output
    assert shop.callers["gone"]["per_worker_per_minute"] == 5
    assert list((shop.folder / "keys").iterdir()) == []
    assert apply(shop)[0] == 0
    check_applied(shop)


def test_a_caller_that_was_seen_goes_with_yes_alone(shop: Desk) -> None:
    """Without a log nobody knows whether it was, and that is the same."""
    before = shop.document
    event = {"event": "token", "outcome": "vended", "caller": "gone", "time": "2999-01-01T00:00:00+00:00"}
    for log in (json.dumps(event), None):
        (shop.folder / "app.log").unlink()
        if log:
            (shop.folder / "app.log").write_text(log)
        code, output = apply(shop)
        assert (code, shop.document, "gone could be cut off: " in output) == (1, before, True), output
    assert apply(shop, "--yes")[0] == 0
    check_applied(shop)


def test_a_file_that_is_no_left_key_stays(shop: Desk) -> None:
    """What a command cannot have left there is never replaced: nothing is made."""
    held, file = shop.held, shop.folder / "keys" / "reports.key"
    for words in ("not a key, but a note\n", OLD):
        file.write_text(words)
        code, output = apply(shop)
        assert (code, shop.held, file.read_text()) == (1, held, words), output


def lose_keys(desk: Desk) -> None:
    """Have the host forget every key of vend's, as where it cannot read them."""
    keys = desk.keys.read()
    for name in [name for name in keys.functionKeys if name.startswith("vend-")]:
        del keys.functionKeys[name]
    desk.keys.write(keys)


def test_every_caller_whose_key_is_lost_gets_a_new_one(shop: Desk) -> None:
    """A caller with an identity alone is left alone, and so is one whose key the host has; then nothing is lost."""
    shop.document += f"\n[callers.pod]\n{IDENTITY.replace('billing', 'pod')}\n{ALLOW}\n"
    lose_keys(shop)
    before = shop.callers
    done = shop.do("callers", "rekey", "--all", "--key-folder", str(shop.folder / "keys"))
    assert done.exit_code == 0, done.output
    assert "2 keys of 2 work." in done.output
    for name in ("billing", "gone"):
        key = (shop.folder / "keys" / f"{name}.key").read_text()
        assert (shop.callers[name], shop.held[f"vend-{name}"]) == (before[name] | {"key_sha256": [sha256(key)]}, key)
    assert shop.callers["pod"] == before["pod"]
    held = shop.held
    again = shop.do("callers", "rekey", "--all", "--key-folder", str(shop.folder / "keys"))
    assert (again.exit_code, shop.held) == (0, held)
    named = shop.do("callers", "rekey", "billing")
    assert (named.exit_code, "For another key: ./vend callers roll billing\n" in named.stderr) == (1, True)


@pytest.mark.slow
@at_some_requests
def test_a_rekey_is_killed_before_each_request_and_repeated(shop: Desk, wire: Wire, step: int) -> None:
    """Of the keys that it left at the host none stays that no caller has."""
    nth, start = 0, shop.document
    lose_keys(shop)
    keys = shop.keys.read()
    command = ("callers", "rekey", "--all", "--key-folder", str(shop.folder / "keys"))
    while True:
        wire.before(nth, killed)
        try:
            shop.do(*command)
        except Killed:
            wire.before(None)
        else:
            break
        done = shop.do(*command)
        assert done.exit_code == 0, done.output
        for name in ("billing", "gone"):
            key = (shop.folder / "keys" / f"{name}.key").read_text()
            assert shop.callers[name]["key_sha256"] == [sha256(key)]
        assert len(shop.held) == 3
        shop.document = start
        shop.keys.write(keys)
        for file in (shop.folder / "keys").iterdir():
            file.unlink()
        nth += step
    assert nth - step >= 4  # as above


def test_either_names_or_all(desk: Desk) -> None:
    """Not neither, and not both."""
    for words in ((), ("billing", "--all")):
        assert desk.do("callers", "rekey", *words).exit_code == 2


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (30 * 86400, "1 key, until 2030-01-31 00:00 UTC  graph"),
        (30 * 86400 - 1, "until 2030-01-31 00:00 UTC (ends in 29 days)"),
        (86400 + 1, "until 2030-01-31 00:00 UTC (ends in 1 day)"),
        (0, "until 2030-01-31 00:00 UTC (over: it is refused)"),
    ],
)
def test_the_list_warns_before_the_time_of_a_caller_is_over(shop: Desk, seconds: int, says: str) -> None:
    """From 30 days before, so that somebody moves it in time; and afterwards."""
    end = datetime(2030, 1, 31, tzinfo=UTC)
    shop.document = shop.document.replace("[callers.gone]", "[callers.gone]\nnot_after = 2030-01-31T00:00:00Z")
    shop.now = lambda: end.timestamp() - seconds
    done = shop.do("callers", "list")
    assert (done.exit_code, says in done.stdout) == (0, True), done.output
