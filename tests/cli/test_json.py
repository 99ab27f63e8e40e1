"""`--json`: the same facts for a program, and no secret among them."""

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.tour.site import SCOPE, Site, ask
from emulator.tour.tour import OTHER_SCOPE
from tests.cli.conftest import Run
from tests.cli.test_token import TOKEN

EXPLAIN = ("callers", "explain", "billing", "--scope")
UNKNOWN_ID = "00247c49-88b0-4b49-83e1-d12496541153"


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        (("check",), 0, {"good": True, "mistakes": [], "warnings": [], "profiles": 3, "callers": 3}),
        (("token", "billing", "--scope", SCOPE), 0, {"source": "cache"}),
        (
            (*EXPLAIN, SCOPE),
            0,
            {"given": True, "rule": "callers.billing.allow[0] lists this scope", "profile": "graph"},
        ),
        ((*EXPLAIN, OTHER_SCOPE), 1, {"given": False, "reason": "no entry lists this scope"}),
        (("callers", "explain", "--correlation-id", UNKNOWN_ID), 1, {"given": None}),
        (("audit", "--uti", "aZ09_-8vQUWFvJk1E2cAAA"), 1, {"callers": []}),
        (("sync", "--as", "operator", "--stream", "applications"), 0, {"complete": True}),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_facts_are_json(run: Run, site: Site, words: tuple[str, ...], code: int, facts: dict[str, Any]) -> None:
    """FND-E5. One object alone on stdout, with the exit code that the command has without it; no token, no key."""
    ask(site)
    caller = "operator" if "operator" in words else "billing"
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / f"{caller}.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
    }
    done = run(*words, "--json", **environ)
    found = json.loads(done.stdout)
    assert found | facts == found
    assert (done.exit_code, done.stderr) == (code, "")
    assert not TOKEN.search(done.stdout)
    assert site.key not in done.stdout


def test_the_callers_are_a_list(run: Run, site: Site) -> None:
    """Each with what it may have, and the number of its keys in place of their hashes."""
    done = run("callers", "list", "--json", VEND_CONFIG=str(site.folder / "vend.toml"))
    billing, shop, operator = json.loads(done.stdout)
    assert (billing["name"], billing["keys"], billing["identities"], billing["mode"]) == ("billing", 1, 1, "enforce")
    assert billing["allow"] == [{"profile": "graph", "scopes": [SCOPE], "tenants": []}]
    assert len(shop["allow"][0]["scopes"]) == 2
    assert operator["admin"] is True


def test_mistakes_have_their_file_and_their_key(run: Run, tmp_path: Path) -> None:
    """So that a script can show them where they are."""
    (tmp_path / "vend.toml").write_text("callers = 'callers.toml.example'\nfoo = 1")
    done = run("check", "--json", "--config", str(tmp_path / "vend.toml"))
    found = json.loads(done.stdout)
    assert {"file": f"{tmp_path}/vend.toml", "at": "foo", "what": "is not a setting"} in found["mistakes"]
    assert (done.exit_code, found["good"]) == (1, False)


def test_a_whole_token_is_no_fact(run: Run) -> None:
    """`--raw` and `--json` contradict each other."""
    done = run("token", "billing", "--scope", SCOPE, "--raw", "--json")
    assert (done.exit_code, done.stderr.partition(":")[0]) == (2, "--json")
