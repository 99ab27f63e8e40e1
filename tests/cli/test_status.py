"""`./vend status`: whether the app can serve, on one screen."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from emulator.tour.site import Site, ask
from tests.cli.conftest import KEY, ROOT, Oracle, Run

A, B = "a" * 12, "b" * 12
CHECKS = ("configuration", "callers", "token", "identity", "certificate", "directory", "events", "event_loop")


def environ(site: Site, caller: str = "operator") -> dict[str, str]:
    """What leads the command to the site, with the key of a caller."""
    return {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / f"{caller}.key"),
        "VEND_CONFIG": str(site.folder / "vend.toml"),
    }


def report(status: str, **callers: object) -> dict[str, Any]:
    """What the app answers."""
    facts = {"in_force": A, "newest": A, "refused": 0, "generation": 3} | callers
    failed = {"name": "token", "state": "failed", "detail": "none can be had: Entra: timeout \x1b[2J"}
    return {"status": status, "worker": "w", "callers": facts, "checks": [failed], "correlation_id": "c"}


def test_one_screen_says_whether_the_app_can_serve(run: Run, site: Site) -> None:
    """Each check, the document in force, and the credential by which each profile proved itself."""
    ask(site)
    done = run("status", **environ(site))
    first, *lines = done.stdout.splitlines()
    assert re.fullmatch(rf"(ready|degraded)  {site.app.url}, worker \w+", first)
    assert tuple(line.split()[0] for line in lines[: len(CHECKS)]) == CHECKS
    rest = "\n".join(lines[len(CHECKS) :])
    assert re.search(r"^callers document  [0-9a-f]{12} in force, generation 1$", rest, re.MULTILINE)
    assert re.search(
        r"^credential +graph: https://\S+/certificates/vend/\w+, until \d{4}-\d\d-\d\d$", rest, re.MULTILINE
    )
    assert (done.exit_code, done.stderr) == (0, "")


def test_json_has_the_same(run: Run, site: Site) -> None:
    """Mistakes and credentials are for administrators alone: for another caller they are not known."""
    ask(site)
    found = json.loads(run("status", "--json", **environ(site)).stdout)
    assert [check["name"] for check in found["checks"]] == list(CHECKS)
    assert (found["app"], found["callers"]["generation"], found["mistakes"]) == (site.app.url, 1, [])
    assert found["credentials"][0]["profile"] == "graph"
    other = json.loads(run("status", "--json", "--as", "billing", **environ(site, "billing")).stdout)
    assert (other["mistakes"], other["credentials"]) == (None, None)


@pytest.mark.slow
def test_where_nothing_runs_that_comes_first(tmp_path: Path) -> None:
    """Without a `make run`, an app and a key: what to start or to name, each name as it is written."""
    for room in ("cli", "shared"):
        (tmp_path / room).symlink_to(ROOT / room)
    command = [sys.executable, "-P", "-m", "cli", "status"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    first, second, last = done.stderr.splitlines()
    assert (first, second) == (
        "`make run` is not running here, and no other app is named.",
        "There is no key for operator.",
    )
    assert last.startswith("Start it: make run. For another app, name it by --app URL or VEND_URL, and put the key ")
    assert last.endswith(" into VEND_KEY_FILE, or the key into VEND_KEY.")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("serving", "says"),
    [
        ({"credential": "vault/2", "is_accepted": True, "resting": ["vault/1"]}, "graph: vault/2, 1 other refused"),
        ({"credential": "vault/2", "is_accepted": False, "resting": ["vault/2"]}, "graph: vault/2, refused"),
        ({"credential": "vault/2", "is_accepted": False, "resting": []}, "graph: vault/2, not tried yet"),
        ({"credential": None, "is_accepted": False, "resting": []}, "graph: none is known yet"),
    ],
    ids=["fallback", "refused", "fresh", "unread"],
)
def test_the_credential_of_each_profile_is_named(
    run: Run, oracle: tuple[Oracle, str], serving: dict[str, object], says: str
) -> None:
    """Which link of the chain serves, and whether Entra refuses others or this one."""
    answering, url = oracle
    told = {"mistakes": [], "credentials": [{"profile": "graph", "ends": None, **serving}]}
    answering.answer = JSONResponse(report("ready") | told)  # readiness and the doctor in one
    assert f"credential        {says}" in run("status", "--app", url, VEND_KEY=KEY).stdout.splitlines()


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (JSONResponse(report("not_ready"), 503), 1, "token  failed    none can be had: Entra: timeout ?[2J"),
        (
            JSONResponse(report("not_ready"), 503),
            1,
            "What to do: docs/runbook.md#token; ./vend watch shows the events.",
        ),
        (JSONResponse(report("degraded")), 0, "callers document  aaaaaaaaaaaa in force, generation 3"),
        (
            JSONResponse(report("degraded", newest=B, refused=2)),
            0,
            f"callers document  {A} in force, generation 3; the newer one, {B}, is refused; 2 callers refused",
        ),
        (JSONResponse(report("not_ready", in_force=None), 503), 1, "callers document  none in force"),
        (JSONResponse(report("ready") | {"checks": ["x"]}), 1, "URL answers 200, but not as vend does."),
        (Response(status_code=401), 1, "The host does not know the key that asks."),
        (Response("<html>"), 1, "URL answers 200, but not as vend does."),
    ],
    ids=["failed", "next", "degraded", "refused", "none", "checks", "key", "stranger"],
)
def test_the_exit_code_says_whether_it_serves(
    run: Run, oracle: tuple[Oracle, str], answer: Response, code: int, says: str
) -> None:
    """A warning is no failure; nothing in the answer steers the terminal."""
    serving, url = oracle
    serving.answer = answer
    done = run("status", "--app", url, VEND_KEY=KEY)
    assert says.replace("URL", url) in done.output.splitlines()
    assert done.exit_code == code
