"""`./vend plan`: every change of an entry, what it means, and whom it would cut off."""

import base64
import json
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.cli.desk import OLD, Desk, sha256
from tests.tables import DATA, cases, text

pytestmark = pytest.mark.parametrize("desk", ["make run"], indirect=True)
ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
WORDS = {"ONE": ONE, "TWO": TWO} | {name: f"api://{name.lower()}/.default" for name in "ABC"}
BILLING = '\n[callers.billing]\nkey = true\nidentity = [{ issuer = "cluster", subject = "b" }]\n'


@dataclass(frozen=True)
class Case:
    """One change."""

    id: str
    says: list[str]
    was: str | None = None
    keys: int = 1
    wanted: str | None = None
    seen: str = ""


def whole(words: str) -> str:
    """Write the names of scopes and tenants out."""
    return re.sub(r"\b(ONE|TWO|A|B|C)\b(?!\.)", lambda found: WORDS[found[0]], words)


def token_for(form: Mapping[str, str]) -> str | None:
    """Answer as an app in which --as has every right but that on C."""
    roles = tomllib.loads((DATA / "plan.toml").read_text())["roles"]
    for name, scope in WORDS.items():
        key = f"{form.get('client_id')} {name}"
        if scope == form.get("scope") and key in roles:
            claims = json.dumps({"appid": form["client_id"], "tid": form["tenant"], "roles": roles[key]})
            return f"x.{base64.urlsafe_b64encode(claims.encode()).decode()}.x"
    return None


def told(planned: Mapping[str, object]) -> list[str]:
    """Write the one caller that changes as the table does."""
    assert isinstance(planned["callers"], list)
    found = []
    for each in planned["callers"]:
        assert each["name"] == "reports"
        found.append(each["kind"])
        found += ["key made"] if each["makes_key"] else []
        found += [f"keys dropped: {each['drops_keys']}"] if each["drops_keys"] else []
        found += [f"gains {r['profile']} {r['tenant']} {r['scope']}: {r['roles']}" for r in each["gained"]]
        found += [f"loses {r['profile']} {r['tenant']} {r['scope']}" for r in each["lost"]]
        found += [f"{name}: {value['from']} -> {value['to']}" for name, value in each["values"].items()]
        found += [f"cut off: {each['could_be_cut_off']}"] if each["could_be_cut_off"] else []
    return found


@pytest.mark.parametrize("case", cases("plan.toml", Case, beside={"settings", "roles"}), ids=lambda case: case.id)
def test_a_plan_names_every_change(desk: Desk, case: Case) -> None:
    """Each of them, and nothing else; it writes nothing, neither to the document nor to the host."""
    config = desk.folder / "vend.toml"
    config.write_text(config.read_text() + whole(text("plan.toml", "settings")))
    document = f"generation = 1\n{BILLING.replace('key = true', f'key_sha256 = ["{sha256(OLD)}"]')}"
    if case.was is not None:
        keys = json.dumps([sha256(f"key {number}") for number in range(case.keys)])
        listed = f"key_sha256 = {keys}\n" if case.keys else ""
        document += f"\n[callers.reports]\n{listed}{whole(case.was)}\n"
    desk.document = document
    wanted = desk.folder / "wanted.toml"
    entry = "" if case.wanted is None else f"\n[callers.reports]\n{whole(case.wanted)}\n"
    wanted.write_text(BILLING + entry)
    log = desk.folder / "app.log"
    if case.seen != "no log":
        log.write_text("")
    if case.seen not in {"", "no log"}:
        profile, tenant, scope = whole(case.seen).split()
        event = {"event": "token", "time": datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()}
        event |= {"caller": "reports", "outcome": "vended", "profile": profile, "tenant_id": tenant, "scope": scope}
        log.write_text(json.dumps(event) + "\n")
    desk.host.token = token_for
    (desk.folder / "key").write_text(OLD)
    desk.environ["VEND_KEY_FILE"] = str(desk.folder / "key")
    held = desk.held
    done = desk.do("plan", str(wanted), "--as", "billing", "--json")
    assert done.exit_code == 0, done.output
    planned = json.loads(done.stdout)
    assert sorted(told(planned)) == sorted(map(whole, case.says))
    assert planned["needs_yes"] is any(each.startswith("cut off") for each in case.says)
    assert (desk.document, desk.held) == (document, held)


def test_the_roles_are_said_to_be_unknown_where_nobody_asks(desk: Desk) -> None:
    """A `.default` may mean any role: the plan never leaves that out."""
    wanted = desk.folder / "wanted.toml"
    scope = "https://graph.microsoft.com/.default"
    wanted.write_text(f'{BILLING}[callers.new]\nallow = [{{ profile = "graph", scopes = ["{scope}"] }}]\n')
    done = desk.do("plan", str(wanted))
    assert done.exit_code == 0, done.output
    assert "    roles  not known: name a caller that may have such a token, by --as\n" in done.stdout
    assert "There is no log here." in done.stdout


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("callers = ", "cannot be read as TOML"),
        ("callers = 1", "callers must be a table"),
        ("generation = 2\n[callers.a]", "generation: is not of a wanted document"),
        (f'[callers.a]\nkey_sha256 = ["{"a" * 64}"]', "callers.a.key_sha256: is not of a wanted document"),
        ("[callers.a]\nkey = 1", "callers.a.key: must be true or false"),
        ('[callers."*"]\nkey = true', '"*" has no key'),
        ("[callers.a]\ncolour = 1", "callers.a.colour: is not a setting"),
        ("[callers.a]\nkey = false", "callers.a.key_sha256: is missing, and so is identity"),
        ('[callers.a]\nallow = [{ profile = "gone", scopes = [] }]', "there is no such profile"),
        ("[callers.a]\n[callers.A]", "callers.A: is too close to a: the host would keep one key for both"),
        ("[callers.a]\n[callers.a-2]", "callers.a-2: is too close to a: the host would keep one key for both"),
        ("[callers]\na = {}", "each caller must have a table of its own"),
    ],
)
def test_a_malformed_file_is_not_understood(desk: Desk, wanted: str, says: str) -> None:
    """Exit code 2 by each command that takes it, with every mistake by its dotted key, and nothing happens."""
    before, held = desk.document, desk.held
    (desk.folder / "wanted.toml").write_text(wanted)
    for command in ("plan", "apply"):
        done = desk.do(command, str(desk.folder / "wanted.toml"))
        assert (done.exit_code, says in done.stderr) == (2, True), done.output
    assert (desk.document, desk.held) == (before, held)
