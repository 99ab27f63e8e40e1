"""`./vend callers`: a change counts only if every worker seen goes by it."""

from dataclasses import dataclass
from typing import Literal, assert_never

import pytest

from emulator.network.serve import HOST, listening_socket
from tests.cli.desk import ADD, COMMENT, OLD, Desk, sha256
from tests.cli.key_host import WORKERS

SCOPE = "https://graph.microsoft.com/.default"
OTHER = "api://other/.default"
COMMANDS = {
    "add": ADD,
    "roll": ("callers", "roll", "billing"),
    "roll --finish": ("callers", "roll", "rolled", "--finish"),
    "revoke": ("callers", "revoke", "billing"),
    "allow": ("callers", "allow", "billing", OTHER),
    "deny": ("callers", "deny", "rolled", SCOPE),
    "set": ("callers", "set", "billing", "--rate", "60"),
    "purge": ("callers", "purge"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An app that does not go by a document, and what the operator reads."""

    id: str
    app: Literal["refuses", "away", "older", "stuck", "no document"]
    says: str


CASES = (
    Case(id="refuses", app="refuses", says="refuses the document, and goes on by an older one."),
    Case(id="away", app="away", says="Nobody answers at "),
    Case(id="older", app="older", says="The app is older than this command"),
    Case(id="one worker of three is stuck", app="stuck", says=f"Worker {WORKERS[2]} has not read the document"),
    Case(id="no document", app="no document", says="has no callers document."),
)


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A desk with a second caller that is being rolled, and a second scope."""
    config = desk.folder / "vend.toml"
    config.write_text(config.read_text().replace(f'scopes = ["{SCOPE}"]', f'scopes = ["{SCOPE}", "{OTHER}"]', 1))
    desk.document += f"""
[callers.rolled]
key_sha256 = ["{sha256("one")}", "{sha256("two")}"]
allow = [{{ profile = "graph", scopes = ["{SCOPE}", "{OTHER}"] }}]
"""
    desk.host.workers.old = desk.content
    return desk


@pytest.mark.slow
@pytest.mark.parametrize("desk", ["Azure"], indirect=True)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_change_that_a_worker_does_not_go_by_is_no_success(shop: Desk, command: tuple[str, ...], case: Case) -> None:
    """FND-C2, SEC-32. Exit code 1 and the reason, and never that it is in force. The document is written."""
    workers = shop.host.workers
    with listening_socket() as taken:
        match case.app:
            case "refuses":
                workers.refuses = True
            case "away":
                shop.environ["VEND_URL"] = f"http://{HOST}:{taken.getsockname()[1]}"
            case "older":
                workers.is_older = True
            case "stuck":
                workers.stuck = {WORKERS[2]}
            case "no document":
                workers.old, workers.stuck = None, set(WORKERS)
            case _:
                assert_never(case.app)
        before = shop.document
        done = shop.do(*command)
    assert (done.exit_code, shop.document != before) == (1, True)
    assert case.says in done.stderr
    assert "in force" not in done.output.lower()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_change_that_every_worker_goes_by_is_told_with_their_number(shop: Desk, command: tuple[str, ...]) -> None:
    """Of an app in Azure not before 32 s after the write: a worker that nobody has met may not have read it before."""
    done = shop.do(*command)
    assert (
        done.exit_code,
        f"In force on 3 workers seen; {'any other within 30 s unless' if shop.in_azure else 'a `make run` has no'}"
        in done.output,
    ) == (0, True)
    assert shop.waited >= (32 if shop.in_azure else 0)
    assert COMMENT in shop.document


@pytest.mark.parametrize("desk", ["Azure"], indirect=True)
@pytest.mark.parametrize("undone", [False, True], ids=["beside it", "undone"])
def test_what_another_operator_writes_meanwhile_counts(shop: Desk, *, undone: bool) -> None:
    """The change must be in the document as it lies there at the end, whoever has written that."""
    before = shop.document

    def write() -> None:
        shop.document = before if undone else f"{shop.document}# Bob was here.\n"

    shop.meanwhile = write
    done = shop.do(*COMMANDS["allow"])
    assert (done.exit_code, "somebody else has written it" in done.stderr) == (int(undone), undone)


@pytest.mark.parametrize("desk", ["Azure"], indirect=True)
def test_an_app_that_is_slow_to_read_is_waited_for(shop: Desk) -> None:
    """A worker that has not read the document at first is no failure if it has at the end."""
    shop.host.workers.stuck = {WORKERS[0]}
    waits = iter(range(40))

    def mend() -> None:
        if next(waits) == 35:
            shop.host.workers.stuck.clear()
        shop.meanwhile = mend

    shop.meanwhile = mend
    assert shop.do(*COMMANDS["revoke"]).exit_code == 0
    assert 32 < shop.waited < 90


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
@pytest.mark.parametrize(("generation", "wanted"), [(1, 2), (7, 8)], ids=["document", "in force"])
def test_a_purge_raises_the_higher_generation(shop: Desk, generation: int, wanted: int) -> None:
    """FND-C4. One more than what a worker has in force, or than the document has: a lower one would be refused."""
    shop.host.workers.generation = generation
    assert shop.do("callers", "purge").exit_code == 0
    assert f"generation = {wanted}\n" in shop.document


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_no_change_lowers_the_generation_in_force(shop: Desk) -> None:
    """FND-C4. A document that was restored by hand is written with the generation that the workers have."""
    shop.host.workers.generation = 7
    assert shop.do("callers", "revoke", "billing").exit_code == 0
    assert "generation = 7\n" in shop.document


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
@pytest.mark.parametrize(("command", "code"), [(COMMANDS["allow"], 1), (COMMANDS["revoke"], 0)], ids=["more", "less"])
def test_an_entry_that_the_app_refuses_gives_nobody_more(shop: Desk, command: tuple[str, ...], code: int) -> None:
    """A document can be in force without one of its entries: that may be the one that was changed."""
    workers = shop.host.workers
    read = workers.document

    def document() -> bytes | None:
        found = read()
        workers.refused = int(found != workers.old)
        return found

    workers.document = document
    done = shop.do(*command)
    assert (done.exit_code, "The app refuses 1 entry of the document" in done.stderr) == (code, bool(code))


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_an_admin_reads_what_the_app_finds_wrong(shop: Desk) -> None:
    """FND-C2. The app's own mistakes, by its own vend.toml, which may not be that of the clone."""
    workers = shop.host.workers
    workers.refuses = True
    workers.mistakes = [{"at": "callers.x.allow[0].scopes[0]", "what": "the profile does not have this scope"}]
    shop.environ["VEND_KEY"] = OLD
    done = shop.do(*COMMANDS["allow"], "--as", "boss")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-2:] == [
        "The app reports:",
        "  callers.x.allow[0].scopes[0]: the profile does not have this scope",
    ]


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_list_of_mistakes_that_is_none_hides_no_reason(shop: Desk) -> None:
    """FND-C2. Whatever answers in the place of the app: the command ends with the reason, and no traceback."""
    workers = shop.host.workers
    workers.refuses = True
    workers.mistakes = [{"at": "callers.x"}, {"what": "is odd"}]
    shop.environ["VEND_KEY"] = OLD
    done = shop.do(*COMMANDS["allow"], "--as", "boss")
    assert (done.exit_code, "refuses the document" in done.stderr) == (1, True)
    assert (
        done.stderr.splitlines()[-1] == "The app does not report its mistakes: /api/doctor answers no list of mistakes."
    )
