"""`./vend callers allow`, `deny` and `set`: what they make of an entry, and what they refuse to write."""

import json

import pytest

from emulator.seed import TENANT_ID
from emulator.tour.site import SHOP_SCOPES
from tests.cli.conftest import SCOPE
from tests.cli.desk import Desk

OTHER_TENANT = "11111111-1111-1111-1111-111111111111"
pytestmark = pytest.mark.parametrize("desk", ["make run"], indirect=True)


def test_a_caller_gets_what_it_lacks_and_no_more(desk: Desk) -> None:
    """Where it has a scope in one tenant, it gets the others: two entries for one tenant and scope are a mistake."""
    config = desk.folder / "vend.toml"
    config.write_text(config.read_text().replace(f'"{TENANT_ID}"', f'"{TENANT_ID}", "{OTHER_TENANT}"', 1))
    desk.document = desk.document.replace(f'scopes = ["{SCOPE}"]', f'scopes = ["{SCOPE}"], tenants = ["{TENANT_ID}"]')
    assert desk.do("callers", "allow", "billing", SCOPE).exit_code == 0
    assert desk.callers["billing"]["allow"] == [
        {"profile": "graph", "scopes": [SCOPE], "tenants": [TENANT_ID]},
        {"profile": "graph", "scopes": [SCOPE], "tenants": [OTHER_TENANT]},
    ]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("allow", "billing", SCOPE), f"billing has {SCOPE} (profile graph) already: nothing changed."),
        (
            ("deny", "billing", SHOP_SCOPES[0]),
            f"billing has no entry for {SHOP_SCOPES[0]}: nothing changed. It has: {SCOPE}",
        ),
        (("set", "billing", "--rate", "none"), "billing has per_worker_per_minute = none already: nothing changed."),
    ],
    ids=["allow", "deny", "set"],
)
def test_what_is_so_already_is_not_written_but_confirmed(desk: Desk, command: tuple[str, ...], says: str) -> None:
    """So a command that could not tell can be repeated."""
    before = desk.document
    done = desk.do("callers", *command)
    told, in_force = done.stdout.splitlines()
    assert (done.exit_code, desk.document, told) == (0, before, says)
    assert in_force.startswith("In force on 3 workers seen; ")


def test_a_slip_in_one_scope_keeps_no_other_scope(desk: Desk) -> None:
    """Those that the caller has go; the one that nobody has is named, and the exit code is 1."""
    done = desk.do("callers", "deny", "billing", "api://nope/.default", SCOPE)
    assert (done.exit_code, "allow" in desk.callers["billing"]) == (1, False)
    assert done.stdout.startswith(f"Written: billing may not have {SCOPE}.\nIn force on 3 workers seen; ")
    assert done.stderr.startswith("billing has no entry for api://nope/.default.\n")


def test_a_scope_that_audit_mode_would_go_on_serving_is_not_denied(desk: Desk) -> None:
    """Mode "audit" serves what a profile of the caller has: to take one scope away, the mode must go first."""
    other = "api://other/.default"
    config = desk.folder / "vend.toml"
    config.write_text(config.read_text().replace(f'scopes = ["{SCOPE}"]', f'scopes = ["{SCOPE}", "{other}"]', 1))
    before = desk.document.replace(f'"{SCOPE}"', f'"{SCOPE}", "{other}"').replace(
        "allow = ", 'mode = "audit"\nallow = '
    )
    desk.document = before
    refused = desk.do("callers", "deny", "billing", SCOPE)
    assert (refused.exit_code, desk.document) == (1, before)
    assert "First: ./vend callers set billing --mode enforce\n" in refused.stderr
    assert desk.do("callers", "set", "billing", "--mode", "enforce").exit_code == 0
    assert desk.do("callers", "deny", "billing", SCOPE).exit_code == 0
    assert desk.callers["billing"]["allow"] == [{"profile": "graph", "scopes": [other]}]


def test_limits_come_and_go(desk: Desk) -> None:
    """A moment without an offset is UTC; "none" takes the key out of the entry."""
    before = desk.callers["billing"]
    set_ = ("callers", "set", "billing")
    assert desk.do(*set_, "--rate", "60", "--not-after", "2030-01-31T12:00+01:00").exit_code == 0
    found = desk.callers["billing"]
    assert (found["per_worker_per_minute"], f"{found['not_after']:%Y-%m-%dT%H:%M%z}") == (60, "2030-01-31T11:00+0000")
    over = desk.do(*set_, "--not-after", "2020-01-31")
    assert (over.exit_code, "That time is over: billing gets no token any more." in over.output) == (0, True)
    assert desk.do(*set_, "--rate", "none", "--not-after", "none").exit_code == 0
    assert desk.callers["billing"] == before


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("set", "billing"), 2, "at least one of them is needed"),
        (("set", "billing", "--rate", "0"), 2, "must be a number from 1, or none"),
        (("set", "billing", "--rate", "1e9"), 2, "must be a number from 1, or none"),
        (("set", "billing", "--not-after", "soon"), 2, "must be such as 2027-01-31"),
        (("set", "billing", "--not-after", "90m"), 2, "must be such as 2027-01-31"),
        (("set", "billing", "--mode", "off"), 2, "'off' is not one of"),
        (("set", "reports", "--rate", "1"), 1, "has no caller reports. It has: billing"),
        (("allow", "reports", SCOPE), 1, "has no caller reports. It has: billing"),
        (("allow", "billing", "https://graph.microsoft.com"), 2, "Write https://graph.microsoft.com/.default"),
        (("allow", "billing", SCOPE, "--tenant", "x"), 2, "--tenant: must be a GUID"),
        (("deny", "billing", "https://graph.microsoft.com"), 2, "Write https://graph.microsoft.com/.default"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_slip_writes_nothing(desk: Desk, command: tuple[str, ...], code: int, says: str) -> None:
    """FND-E2. The words that would be right; a deny of a scope that no entry can have is a slip too."""
    before = desk.document
    done = desk.do("callers", *command)
    assert (done.exit_code, says in done.stderr, desk.document) == (code, True, before)


def test_what_another_operator_has_allowed_meanwhile_is_not_listed_twice(desk: Desk) -> None:
    """What a caller lacks is found in the document that the edit is made in, if its entry is good by then."""
    one, two, three = (f"api://{name}/.default" for name in ("one", "two", "three"))
    config = desk.folder / "vend.toml"
    config.write_text(
        config.read_text().replace(f'scopes = ["{SCOPE}"]', f"scopes = {json.dumps([SCOPE, one, two, three])}", 1)
    )
    desk.interfere(lambda text: text.replace(f'["{SCOPE}"]', f'["{SCOPE}", "{one}"]'))
    assert desk.do("callers", "allow", "billing", one, two).exit_code == 0
    assert desk.callers["billing"]["allow"] == [{"profile": "graph", "scopes": [SCOPE, one, two]}]
    desk.interfere(lambda text: text.replace("[callers.billing]", "[callers.billing]\ncolour = 1"))
    done = desk.do("callers", "allow", "billing", three)
    assert (done.exit_code, "has no good entry of billing by now.\n" in done.stderr) == (1, True)


def test_a_denied_scope_that_audit_mode_serves_by_now_is_no_success(desk: Desk) -> None:
    """Another operator has set the mode meanwhile."""
    other = "api://other/.default"
    config = desk.folder / "vend.toml"
    config.write_text(config.read_text().replace(f'scopes = ["{SCOPE}"]', f'scopes = ["{SCOPE}", "{other}"]', 1))
    desk.document = desk.document.replace(f'"{SCOPE}"', f'"{SCOPE}", "{other}"')
    desk.interfere(lambda text: text.replace("allow = ", 'mode = "audit"\nallow = '))
    done = desk.do("callers", "deny", "billing", SCOPE)
    assert (done.exit_code, "In force" in done.output) == (1, False)
