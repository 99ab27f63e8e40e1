"""`./vend callers` in Azure: a write of the document is done, its answer is lost, and then something else happens."""

from collections.abc import Callable, Iterator

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import OPERATOR_PRINCIPAL_ID
from emulator.tour.site import SCOPE
from tests.cli.desk import ADD, Desk, sha256

pytestmark = pytest.mark.parametrize("desk", ["Azure"], indirect=True)

CONTRIBUTOR, READER = "Storage Blob Data Contributor", "Storage Blob Data Reader"
BOB = "# Bob was here.\n"
COMMANDS = {
    "add": ADD,
    "roll": ("callers", "roll", "billing"),
    "roll --finish": ("callers", "roll", "rolled", "--finish"),
    "revoke": ("callers", "revoke", "billing", "rolled"),
    "set": ("callers", "set", "billing", "--rate", "60"),
    "purge": ("callers", "purge"),
}


@pytest.fixture
def shop(desk: Desk, cloud: LocalCloud) -> Iterator[Desk]:
    """A desk with a caller that is being rolled, where the answer to the next write of the document is lost."""
    desk.document += f"""
[callers.rolled]
key_sha256 = ["{sha256("one")}", "{sha256("two")}"]
allow = [{{ profile = "graph", scopes = ["https://graph.microsoft.com/.default"] }}]
"""
    keys = desk.keys.read()
    keys.functionKeys.update({"vend-rolled": "one", "vend-rolled-2": "two"})
    desk.keys.write(keys)
    cloud.blob.lose_answers(1)
    yield desk
    cloud.blob.lose_answers(0)
    cloud.faults["blob"].clear()
    cloud.blob.unassign(OPERATOR_PRINCIPAL_ID, READER)
    cloud.blob.assign(OPERATOR_PRINCIPAL_ID, CONTRIBUTOR)


def rewrite(desk: Desk, edit: Callable[[str], str]) -> None:
    """Have another operator change the document while the next command waits."""

    def write() -> None:
        desk.document = edit(desk.document)

    desk.meanwhile = write


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_change_that_another_operator_has_seen_is_written(shop: Desk, command: tuple[str, ...]) -> None:
    """The repeat finds another version: it contains the change, so the change is written, once, and its keys stay."""
    rewrite(shop, lambda text: text + BOB)
    done = shop.do(*command)
    assert done.exit_code == 0, done.output
    assert "In force on 3 workers seen; " in done.output
    assert shop.document.endswith(BOB)
    listed = {digest for entry in shop.callers.values() for digest in entry["key_sha256"]}
    assert set(map(sha256, shop.held.values())) == listed


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_change_that_another_operator_has_undone_is_made_again(shop: Desk, command: tuple[str, ...]) -> None:
    """The document does not contain it, as where it was never written."""
    before = shop.document
    rewrite(shop, lambda _: before + BOB)
    done = shop.do(*command)
    assert done.exit_code == 0, done.output
    assert BOB in shop.document
    assert shop.document != before + BOB


@pytest.mark.parametrize("then", ["refuse", "forbid"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_refused_repeat_does_not_undo_the_first_attempt(
    shop: Desk, cloud: LocalCloud, command: tuple[str, ...], then: str
) -> None:
    """Whatever the last answer is, the document tells; where it cannot be read nobody knows, and no key is deleted."""

    def happen() -> None:
        if then == "refuse":
            cloud.faults["blob"].set(Fault(kind=Kind.REFUSE))
        else:
            cloud.blob.unassign(OPERATOR_PRINCIPAL_ID, CONTRIBUTOR)
            cloud.blob.assign(OPERATOR_PRINCIPAL_ID, READER)

    held, before = shop.held, shop.document
    shop.meanwhile = happen
    done = shop.do(*command)
    cloud.faults["blob"].clear()
    assert shop.document != before
    listed = {digest for entry in shop.callers.values() for digest in entry["key_sha256"]}
    assert listed <= set(map(sha256, shop.held.values()))
    if then == "forbid":
        assert done.exit_code == 0, done.output
        return
    assert (done.exit_code, held.items() <= shop.held.items()) == (1, True)
    assert "is written is not known.\n" in done.stderr
    assert "othing was written" not in done.stderr


def test_a_key_of_which_the_document_has_the_hash_is_not_deleted(shop: Desk) -> None:
    """The change is not in the document as it was meant: that is told, and the key of the caller stays."""
    rewrite(shop, lambda text: text.replace("https://graph", "https://other") + BOB)
    done = shop.do(*ADD)
    assert done.exit_code == 1
    assert "othing was written" not in done.stderr
    assert shop.callers["reports"]["key_sha256"] == [sha256(shop.held["vend-reports"])]
    assert "The host keeps vend-reports, because a caller has it." in done.stderr


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize(
    "command", [("revoke", "rolled", "--yes"), ("roll", "rolled", "--finish", "--yes")], ids=["revoke", "finish"]
)
def test_a_key_that_stays_is_told_where_nobody_knows_what_is_written(
    shop: Desk, cloud: LocalCloud, command: tuple[str, ...], *, everybody: bool
) -> None:
    """The repeat no longer knows whose key it was: so the first run tells, although it could not make sure."""
    keys = shop.keys.read()
    del keys.functionKeys["vend-rolled"]
    keys.functionKeys["theirs"] = "one"
    shop.keys.write(keys)
    if everybody:
        shop.document += f'[callers."*"]\nallow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]\n'
    shop.meanwhile = lambda: cloud.faults["blob"].set(Fault(kind=Kind.REFUSE))
    done = shop.do("callers", *command)
    cloud.faults["blob"].clear()
    assert (done.exit_code, sha256("one") in shop.document) == (1, False)
    assert "is written is not known.\n" in done.stderr
    gets = f'what "*" may have: {SCOPE} (profile graph)' if everybody else "nothing"
    told = f"The host keeps its key theirs, which vend did not make. Without its entry it gets {gets}.\n"
    assert told in done.stderr
    assert "Delete it at the host now: a repeat of this command does not know it any more.\n" in done.stderr
