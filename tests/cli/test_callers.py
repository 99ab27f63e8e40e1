"""`./vend callers add`, `roll`, `revoke` and `list`, against the document and the keys of a host."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import APP_RESOURCE_ID, CONTAINER, TENANT_ID
from emulator.tour.site import SCOPE
from tests.cli.desk import ADD, COMMENT, OLD, Desk, sha256
from tests.cli.key_host import WORKERS

ABSENT = "00000000-0000-4000-8000-00000000000a"
"""A tenant that no profile has."""


def test_one_command_makes_a_caller(desk: Desk) -> None:
    """The host makes the key and accepts it, the document gets its hash, and the rest of its words stay."""
    before = desk.document
    done = desk.do(*ADD, "--tenant", TENANT_ID)
    key = desk.new_key(done, "reports")
    assert (done.exit_code, desk.held) == (0, {"vend-billing": OLD, "vend-reports": key})
    assert desk.document.startswith(before)
    assert desk.callers["reports"] == {
        "key_sha256": [sha256(key)],
        "allow": [{"profile": "graph", "scopes": [SCOPE], "tenants": [TENANT_ID]}],
    }
    assert f"Written: reports may have {SCOPE} (profile graph)." in done.output
    assert "In force on 3 workers seen; " in done.output
    assert "The key works." in done.output


def test_a_key_can_go_into_a_file(desk: Desk, tmp_path: Path) -> None:
    """A new one that its owner alone can read; nothing of it is printed, and a file that is there stays."""
    done = desk.do(*ADD, "--key-file", str(tmp_path / "key"))
    key = (tmp_path / "key").read_text()
    assert (done.exit_code, desk.held["vend-reports"]) == (0, key)
    assert key not in done.output
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    again = desk.do("callers", "roll", "reports", "--key-file", str(tmp_path / "key"))
    assert (again.exit_code, again.stderr.splitlines()[0]) == (1, f"{tmp_path}/key is there already.")
    assert (tmp_path / "key").read_text() == key


@pytest.mark.slow
def test_a_key_is_rolled_and_rolled_again(desk: Desk) -> None:
    """Both are good until the old one is removed, in the document and at the host; the names of the keys take turns."""
    for old_slot, new_slot in (("vend-billing", "vend-billing-2"), ("vend-billing-2", "vend-billing")):
        old = desk.held[old_slot]
        key = desk.new_key(rolled := desk.do("callers", "roll", "billing"), "billing")
        assert (rolled.exit_code, desk.held) == (0, {old_slot: old, new_slot: key})
        assert desk.callers["billing"]["key_sha256"] == [sha256(old), sha256(key)]
        assert "When the service uses the new one: ./vend callers roll billing --finish" in rolled.output
        assert desk.do("callers", "roll", "billing").exit_code == 1  # two are enough
        finished = desk.do("callers", "roll", "billing", "--finish")
        assert (finished.exit_code, desk.held) == (0, {new_slot: key})
        assert desk.callers["billing"]["key_sha256"] == [sha256(key)]
    assert COMMENT in desk.document


def test_there_is_an_old_key_to_remove_once_there_is_a_new_one(desk: Desk) -> None:
    """`--finish` with one key changes nothing and says what comes first."""
    done = desk.do("callers", "roll", "billing", "--finish")
    assert done.exit_code == 1
    assert done.stderr.startswith("billing has one key: there is nothing to finish.\n")
    assert desk.held == {"vend-billing": OLD}


@pytest.mark.parametrize("name", ["billing", "spoiled"])
def test_a_caller_goes_though_an_entry_has_a_mistake(desk: Desk, name: str) -> None:
    """FND-C3: the app serves the others, so whoever must go goes, be it the one whose entry is spoiled."""
    desk.document += f'[callers.spoiled]\nkey_sha256 = ["{"c" * 64}"]\nallow = []\n'
    done = desk.do("callers", "revoke", name)
    assert (done.exit_code, set(desk.callers)) == (0, {"billing", "spoiled"} - {name}), done.output
    assert "has mistakes already; ./vend check names them." in done.stderr
    refused = desk.do("callers", "add", "reports", "--allow", SCOPE, "--tenant", ABSENT)
    assert (refused.exit_code, "reports" in desk.callers) == (1, False)
    assert "callers.spoiled" not in refused.stderr


@pytest.mark.slow
def test_a_revoked_caller_is_gone(desk: Desk) -> None:
    """Its entry and its keys, both while it is rolled; the others and the words around them stay."""
    desk.do("callers", "roll", "billing")
    desk.do(*ADD)
    done = desk.do("callers", "revoke", "billing")
    assert (done.exit_code, set(desk.held), set(desk.callers)) == (0, {"vend-reports"}, {"reports"})
    assert "In force on 3 workers seen; " in done.output
    assert COMMENT in desk.document
    assert not (desk.folder / "billing.key").exists()
    assert desk.do("callers", "revoke", "billing").exit_code == 1  # there is no such caller


@pytest.mark.parametrize("everybody", [True, False])
def test_a_revocation_needs_no_host(desk: Desk, cloud: LocalCloud, *, everybody: bool) -> None:
    """The document decides alone, so it comes first; what is left at the host goes when the command is repeated.

    Until then its key is one that no caller has, and gets what `"*"` may have: that is told.
    """
    if everybody:
        desk.document += f'[callers."*"]\nallow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]\n'
    desk.host.before = lambda: 1 / 0
    cloud.faults["management"].set(Fault(kind=Kind.STATUS, status=500))
    try:
        broken = desk.do("callers", "revoke", "billing")
    finally:
        cloud.faults["management"].clear()
    desk.host.before = lambda: None
    assert (broken.exit_code, desk.held) == (1, {"vend-billing": OLD})
    assert set(desk.callers) == ({"*"} if everybody else set())
    assert "Written: billing is no caller any more." in broken.stdout
    assert (f'It gets what "*" may have: {SCOPE} (profile graph).\n' in broken.stderr) is everybody
    assert desk.do("callers", "revoke", "billing").exit_code == 0
    assert desk.held == {}


@pytest.mark.slow
def test_what_broke_off_can_be_repeated(desk: Desk) -> None:
    """FND-C9. A key of that name without a caller is never replaced; `revoke` deletes it, and then `add` works."""
    desk.do(*ADD)
    lost = desk.held["vend-reports"]
    desk.document = desk.document.partition("\n[callers.reports]")[0]
    refused = desk.do(*ADD)
    assert (refused.exit_code, desk.held["vend-reports"]) == (1, lost)
    assert refused.stderr.startswith("The host has a key vend-reports that is no caller's in ")
    assert "./vend callers revoke reports" in refused.stderr
    assert desk.do("callers", "revoke", "reports").exit_code == 0
    key = desk.new_key(desk.do(*ADD), "reports")
    assert desk.held["vend-reports"] == key != lost


@pytest.mark.parametrize("name", ["default", "theirs", "billing"])
def test_a_key_that_vend_did_not_make_stays(desk: Desk, name: str) -> None:
    """FND-C9. No command deletes or replaces a key of the host that is not called as vend calls its own."""
    theirs = "C4N4RY-a-key-that-somebody-made-by-hand"
    keys = desk.keys.read()
    keys.functionKeys[name] = theirs
    desk.keys.write(keys)
    desk.document = desk.document.replace(sha256(OLD), f'{sha256(OLD)}", "{sha256(theirs)}')
    if name != "default":
        desk.do("callers", "add", name, "--allow", SCOPE)
    done = desk.do("callers", "revoke", name)
    assert desk.keys.read().functionKeys[name] == theirs
    if name == "billing":
        assert "The host keeps its key billing, which vend did not make." in done.stderr


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_two_who_write_at_once_both_have_their_way(desk: Desk) -> None:
    """What somebody else has written between reading and writing is read again, and stays."""

    def interfere() -> None:
        desk.document = f"{desk.document}\n# Bob was here.\n"

    desk.host.before = interfere
    assert desk.do(*ADD).exit_code == 0
    assert "# Bob was here." in desk.document
    assert "reports" in desk.callers


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_what_cannot_be_written_leaves_no_key(desk: Desk) -> None:
    """Somebody else has added a caller of that name meanwhile: the new keys go, at the host and in their files."""

    def interfere() -> None:
        desk.host.before = lambda: None
        desk.document += f'\n[callers.reports]\nkey_sha256 = ["{"c" * 64}"]\n'

    desk.host.before = interfere
    done = desk.do("callers", "add", "audits", "reports", "--allow", SCOPE)
    assert (done.exit_code, desk.held) == (1, {"vend-billing": OLD})
    assert "has a caller reports already.\n" in done.stderr
    assert "callers.toml does not have this change.\n" in done.stderr
    assert "Deleted again, because no caller has it: vend-audits, vend-reports.\n" in done.stderr
    assert not (desk.folder / "audits.key").exists()


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_key_file_of_a_roll_that_cannot_be_written_is_put_back(desk: Desk) -> None:
    """It held the key that is still good."""

    def interfere() -> None:
        desk.host.before = lambda: None
        desk.document = desk.document.replace("[callers.billing]", "[callers.invoices]")

    desk.host.before = interfere
    assert desk.do("callers", "roll", "billing").exit_code == 1
    assert ((desk.folder / "billing.key").read_text(), desk.held) == (OLD, {"vend-billing": OLD})


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_an_end_is_set_from_the_start(desk: Desk) -> None:
    """Once for all: a date, or a time from now; one that is over makes nothing."""
    desk.now = datetime(2027, 1, 1, 12, tzinfo=UTC).timestamp
    done = desk.do("callers", "add", "audits", "reports", "--allow", SCOPE, "--not-after", "90d")
    assert "Written: audits, reports may have" in done.stdout
    assert " until 2027-04-01 12:00 UTC.\n" in done.stdout
    assert {desk.callers[name]["not_after"] for name in ("audits", "reports")} == {datetime(2027, 4, 1, 12, tzinfo=UTC)}
    over = desk.do("callers", "add", "exports", "--allow", SCOPE, "--not-after", "2026-12-31")
    assert (over.exit_code, "is over already" in over.stderr, "exports" in desk.callers) == (2, True, False)


def test_several_keys_can_go_into_a_folder(desk: Desk, tmp_path: Path) -> None:
    """Each into a new file that its owner alone can read; --key-file is for one."""
    words = ("callers", "add", "audits", "reports", "--allow", SCOPE)
    assert desk.do(*words, "--key-file", str(tmp_path / "key")).exit_code == 2
    done = desk.do(*words, "--key-folder", str(tmp_path))
    files = [tmp_path / "audits.key", tmp_path / "reports.key"]
    assert (done.exit_code, {file.stat().st_mode & 0o777 for file in files}) == (0, {0o600})
    assert desk.held == {"vend-billing": OLD} | {f"vend-{file.stem}": file.read_text() for file in files}


def test_a_key_that_cannot_be_handed_over_is_deleted(desk: Desk, tmp_path: Path) -> None:
    """Nobody has it, and no caller is added: the command can be repeated as it is."""
    done = desk.do(*ADD, "--key-file", str(tmp_path / "nowhere" / "key"))
    assert (done.exit_code, desk.held, set(desk.callers)) == (1, {"vend-billing": OLD}, {"billing"})
    assert "cannot be written (FileNotFoundError), and nobody has the key.\n" in done.stderr


@pytest.mark.slow
def test_several_callers_are_rolled_and_finished_together(desk: Desk) -> None:
    """One document and one wait, as for one; a caller with one key is named and keeps nobody back."""
    desk.do("callers", "add", "audits", "reports", "--allow", SCOPE)
    rolled = desk.do("callers", "roll", "audits", "reports")
    assert (rolled.exit_code, [len(desk.callers[name]["key_sha256"]) for name in ("audits", "reports")]) == (0, [2, 2])
    assert "./vend callers roll audits reports --finish\n" in rolled.output
    finished = desk.do("callers", "roll", "audits", "reports", "billing", "--finish")
    assert (finished.exit_code, set(desk.held)) == (1, {"vend-billing", "vend-audits-2", "vend-reports-2"})
    assert "In force on 3 workers seen; " in finished.output
    assert "billing has one key: there is nothing to finish.\n" in finished.stderr


def test_a_slip_in_one_name_keeps_no_other_caller_alive(desk: Desk) -> None:
    """Of those to be revoked the known ones go; the others are named, and the exit code is 1."""
    done = desk.do("callers", "revoke", "billing", "biling", "billing")
    assert (done.exit_code, desk.callers, desk.held) == (1, {}, {})
    assert "In force on 3 workers seen; " in done.output
    assert " has no caller biling. It has: billing\n" in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("spoiled", "has a caller spoiled already"),
        ("Spoiled", "The name Spoiled is too close to that of spoiled"),
        ("spoiled-2", "The name spoiled-2 is too close to that of spoiled"),
    ],
)
def test_an_entry_with_mistakes_keeps_its_name_and_its_key(desk: Desk, name: str, says: str) -> None:
    """FND-C9: the host ignores case, so that a key of the new caller would take the place of its own."""
    desk.document += f'[callers.spoiled]\nkey_sha256 = ["{sha256("its key")}"]\ncolour = 1\n'
    before = desk.document
    done = desk.do("callers", "add", name, "--allow", SCOPE)
    assert (done.exit_code, desk.document, desk.held) == (1, before, {"vend-billing": OLD}), done.output
    assert says in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("reports", "Reports", "--allow", SCOPE), "The name Reports is too close to that of reports"),
        (("billing", "--allow", SCOPE), "has a caller billing already"),
        (("Billing", "--allow", SCOPE), "The name Billing is too close to that of billing"),
        (("billing-2", "--allow", SCOPE), "The name billing-2 is too close to that of billing"),
        (("*", "--allow", SCOPE), '"*" has no key of its own.'),
        (("a b", "--allow", SCOPE), 'callers."a b": a name has letters, digits'),
        (("reports", "--allow", "api://x/.default"), "api://x/.default is of no profile that is vendable."),
        (
            ("reports", "--allow", SCOPE, "--profile", "directory"),
            "vend.toml gives no caller anything of profile directory.",
        ),
        (
            ("reports", "--allow", SCOPE, "--tenant", ABSENT),
            "--tenant: profile graph in ",
        ),
        (("reports", "--allow", SCOPE, "--key-file", "/"), "/ is there already."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_mistake_makes_nothing(desk: Desk, words: tuple[str, ...], says: str) -> None:
    """It is told before the host is asked for anything: no key, no entry, exit code 1."""
    before = desk.document
    done = desk.do("callers", "add", *words)
    assert done.exit_code == 1
    assert says in done.stderr
    assert (desk.document, desk.held) == (before, {"vend-billing": OLD})


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
@pytest.mark.parametrize("command", [("add", "reports", "--allow", SCOPE), ("roll", "billing"), ("revoke", "billing")])
def test_documents_and_app_are_of_one_cloud(desk: Desk, command: tuple[str, ...]) -> None:
    """Who is revoked in the document of a `make run` goes on in Azure: it is told before anything is done."""
    before = desk.document
    done = desk.do("callers", *command, "--app", "https://vend.example", "--resource-id", APP_RESOURCE_ID)
    assert (done.exit_code, desk.document, desk.held) == (1, before, {"vend-billing": OLD})
    assert "and the app at https://vend.example are not of the same cloud.\n" in done.stderr


@pytest.mark.parametrize("desk", ["Azure"], indirect=True)
def test_an_app_in_azure_is_never_guessed(desk: Desk) -> None:
    """Without its resource id nothing is made; a revocation does its part in the document, which alone decides."""
    del desk.environ["VEND_RESOURCE_ID"]
    for command in (ADD, ("callers", "revoke", "billing")):
        done = desk.do(*command)
        assert (done.exit_code, desk.held) == (1, {"vend-billing": OLD})
        assert done.stderr.startswith("Which function app? --resource-id ID, or VEND_RESOURCE_ID.\n")
    assert desk.callers == {}


def test_a_key_of_another_caller_is_never_replaced(desk: Desk) -> None:
    """Where somebody has given it the name that ours should have, ours gets the other one."""
    theirs = "C4N4RY-a-key-of-billing-by-another-name"
    desk.document = desk.document.replace(sha256(OLD), f'{sha256(OLD)}", "{sha256(theirs)}')
    keys = desk.keys.read()
    keys.functionKeys["vend-reports"] = theirs
    desk.keys.write(keys)
    key = desk.new_key(desk.do(*ADD), "reports")
    assert desk.held == {"vend-billing": OLD, "vend-reports": theirs, "vend-reports-2": key}


def test_the_callers_are_listed(desk: Desk) -> None:
    """One in a line: how many keys, the limits, and what it may have; never a hash."""
    desk.document += f"""
[callers.auditor]
key_sha256 = ["{"a" * 64}", "{"b" * 64}"]
mode = "audit"
admin = true
per_worker_per_minute = 600
not_after = 2027-01-01T00:00:00Z
allow = [{{ profile = "graph", scopes = ["{SCOPE}"], tenants = ["{TENANT_ID}"] }}]
[callers."*"]
"""
    done = desk.do("callers", "list")
    assert done.stdout == (
        f"billing  1 key, 1 issuer  graph: {SCOPE}\n"
        f"auditor  2 keys, until 2027-01-01 00:00 UTC, 600 a minute per worker, audit, admin  "
        f"graph: {SCOPE} in {TENANT_ID}\n"
        "*        every other key of the host  nothing\n"
    )


def test_without_a_document_the_first_caller_makes_it(desk: Desk, cloud: LocalCloud) -> None:
    """A fresh deployment has none; `list` says that it is missing, `add` writes it."""
    lose(desk, cloud)
    assert "callers.toml: is not there" in desk.do("callers", "list").stdout
    assert desk.do(*ADD).exit_code == 0
    assert desk.callers.keys() == {"reports"}


def lose(desk: Desk, cloud: LocalCloud) -> None:
    """Take the callers document away."""
    if desk.in_azure:
        cloud.blob.remove(CONTAINER, "callers.toml")
    else:
        (desk.folder / "callers.toml").unlink()


def test_a_document_that_is_gone_is_not_replaced_by_accident(desk: Desk, cloud: LocalCloud) -> None:
    """The workers keep the last good one for a day: a new one would cut off everybody whom it does not name.

    Whoever has no copy of it says so, and then all have new keys.
    """
    wanted = desk.folder / "wanted.toml"
    entries = (
        f'[callers.{name}]\nallow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]' for name in ("billing", "new")
    )
    wanted.write_text("\n".join(entries))
    held, workers = desk.held, desk.host.workers
    workers.old = desk.content
    workers.stuck = {WORKERS[1]}
    lose(desk, cloud)
    for words in (ADD, ("apply", str(wanted))):
        done = desk.do(*words)
        assert done.exit_code == 1
        assert "is not there, but the app still serves the callers that it had." in done.stderr
        assert (desk.content, desk.held) == (None, held)
    workers.stuck.clear()
    done = desk.do("callers", "add", "billing", "--allow", SCOPE)
    assert done.exit_code == 1
    assert "callers.toml is not there, and the host has a key vend-billing.\n" in done.stderr
    workers.stuck = {WORKERS[1]}
    assert desk.do("apply", str(wanted), "--yes").exit_code == 1  # that worker does not go by the new one yet
    assert desk.callers.keys() == {"billing", "new"}


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_of_several_to_be_revoked_one_may_be_gone_already(desk: Desk) -> None:
    """Another operator has revoked one of them meanwhile: the others go all the same."""
    desk.do("callers", "add", "audits", "reports", "--allow", SCOPE)
    desk.interfere(lambda text: text.replace("[callers.audits]", "[callers.others]"))
    done = desk.do("callers", "revoke", "audits", "reports")
    assert (done.exit_code, set(desk.callers)) == (0, {"billing", "others"}), done.output


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_roll_takes_out_the_keys_that_were_decided_on(desk: Desk, *, finish: bool) -> None:
    """Another operator has finished and rolled meanwhile: by position, the key that the service uses would go."""
    used, newest = sha256("the key in use"), sha256("the newest key")
    old = sha256(OLD)
    if finish:
        desk.document = desk.document.replace(f'"{old}"', f'"{old}", "{used}"')
    theirs = [f'"{used}", "{newest}"', f'"{old}", "{used}", "{newest}"']
    desk.interfere(lambda text: text.replace(f'"{old}", "{used}"' if finish else f'"{old}"', theirs[not finish]))
    done = desk.do("callers", "roll", "billing", *(["--finish"] if finish else []))
    assert desk.callers["billing"]["key_sha256"] == ([used, newest] if finish else [old, used, newest])
    assert done.exit_code == (0 if finish else 1), done.output
    if not finish:
        assert "has other keys of billing by now.\n" in done.stderr
        assert "callers.toml does not have this change.\n" in done.stderr


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_finish_of_other_keys_changes_nothing(desk: Desk) -> None:
    """Another operator has rolled meanwhile, with the old key still there: which one to remove must be decided anew."""
    keys = [sha256(OLD), sha256("two"), sha256("three")]
    shown = [", ".join(f'"{key}"' for key in each) for each in (keys[:1], keys[:2], keys)]
    desk.document = desk.document.replace(shown[0], shown[1])
    desk.interfere(lambda text: text.replace(shown[1], shown[2]))
    done = desk.do("callers", "roll", "billing", "--finish")
    assert (done.exit_code, desk.callers["billing"]["key_sha256"], desk.held) == (1, keys, {"vend-billing": OLD})
    assert "has other keys of billing by now.\n" in done.stderr


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("command", [("revoke", "billing"), ("roll", "billing", "--finish")], ids=" ".join)
def test_a_key_that_stays_at_the_host_is_told(
    desk: Desk, command: tuple[str, ...], *, everybody: bool, yes: bool
) -> None:
    """Without its entry it gets what `"*"` may have: nothing is written before the operator says so."""
    theirs = "C4N4RY-a-key-that-somebody-made-by-hand"
    keys = desk.keys.read()
    keys.functionKeys["theirs"] = theirs
    desk.keys.write(keys)
    desk.document = desk.document.replace(sha256(OLD), f'{sha256(theirs)}", "{sha256(OLD)}')
    if everybody:
        desk.document += f'[callers."*"]\nallow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]\n'
    before = desk.document
    done = desk.do("callers", *command, *(["--yes"] if yes else []))
    assert (done.exit_code, desk.held["theirs"]) == (1, theirs)
    assert (f'such keys get what "*" may have: {SCOPE} (profile graph).' in done.stderr) is everybody
    if everybody and not yes:
        assert desk.document == before
        assert "Nothing was written.\n" in done.stderr
        return
    assert sha256(theirs) not in desk.document
    assert "In force on 3 workers seen; " in done.output
    what = f'what "*" may have: {SCOPE} (profile graph)' if everybody else "nothing"
    assert f"The host keeps its key theirs, which vend did not make. It gets {what}.\n" in done.stderr


@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_an_entry_whose_keys_cannot_be_read_is_not_revoked_unasked(desk: Desk) -> None:
    """While it stands, `"*"` stands for nobody; without it, a key that was spoiled in it may fall under `"*"`."""
    desk.document += '[callers.spoiled]\nkey_sha256 = ["x"]\n[callers."*"]\n'
    before = desk.document
    refused = desk.do("callers", "revoke", "spoiled")
    assert (refused.exit_code, desk.document) == (1, before)
    assert "The keys of an entry cannot be read, so nobody knows whether the host has them." in refused.stderr
    assert desk.do("callers", "revoke", "spoiled", "--yes").exit_code == 0
    assert set(desk.callers) == {"billing", "*"}


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("desk", ["make run"], indirect=True)
def test_a_key_that_stays_beside_an_entry_that_cannot_be_read_may_get_something(desk: Desk, *, everybody: bool) -> None:
    """It may be a key of that entry, and `"*"` counts again once that is mended: it is not said to get nothing."""
    keys = desk.keys.read()
    keys.functionKeys["theirs"] = "C4N4RY-a-key-that-somebody-made-by-hand"
    desk.keys.write(keys)
    desk.document = desk.document.replace(sha256(OLD), sha256(keys.functionKeys["theirs"]))
    desk.document += '[callers.spoiled]\nkey_sha256 = ["x"]\n'
    if everybody:
        desk.document += f'[callers."*"]\nallow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]\n'
    gets = f'what "*" may have: {SCOPE} (profile graph)' if everybody else "nothing"
    until = "nothing while the keys of an entry cannot be read"
    later = f"{until}; then what that entry may have, if it is its key, else {gets}"
    before = desk.document
    if everybody:
        refused = desk.do("callers", "revoke", "billing")
        assert (refused.exit_code, desk.document) == (1, before)
        assert f"Without their entry such keys get {later}.\n" in refused.stderr
    done = desk.do("callers", "revoke", "billing", "--yes")
    assert (done.exit_code, "billing" in desk.callers) == (1, False)
    assert f"The host keeps its key theirs, which vend did not make. It gets {later}.\n" in done.stderr


def test_everybody_goes_unasked(desk: Desk) -> None:
    """Without `"*"` no key can fall under it, nor can the keys that vend deletes."""
    desk.document += '[callers."*"]\n'
    assert desk.do("callers", "revoke", "billing").exit_code == 0
    assert desk.do("callers", "revoke", "*").exit_code == 0
    assert (desk.callers, desk.held) == ({}, {})


@pytest.mark.parametrize("above", ["", COMMENT])
def test_the_last_caller_can_be_revoked(desk: Desk, above: str) -> None:
    """What is left is a document for nobody, and not the empty one of a mishap, which no worker believes."""
    desk.document = above + desk.document[desk.document.index("[callers") :]
    done = desk.do("callers", "revoke", "billing")
    assert (done.exit_code, desk.callers, desk.held) == (0, {}, {})
    assert "In force on 3 workers seen; " in done.output
    assert above in desk.document
    assert desk.do(*ADD).exit_code == 0
