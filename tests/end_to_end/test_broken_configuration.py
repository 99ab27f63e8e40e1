import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.tour.app import App
from emulator.tour.site import SCOPE, Site, app_settings
from tests.conftest import measured
from tests.contract import check

pytestmark = pytest.mark.slow


def break_settings(folder: Path) -> None:
    """Make three mistakes in vend.toml."""
    text = (folder / "vend.toml").read_text()
    text = text.replace('scopes = ["', 'scopes = ["User.Read", "', 1).replace(
        'signing = "vault"', 'signing = "paper"', 1
    )
    (folder / "vend.toml").write_text(f"colour = 1\n{text}")


def break_callers(folder: Path) -> None:
    """Make two mistakes in callers.toml, one of which concerns everybody."""
    text = (folder / "callers.toml").read_text()
    (folder / "callers.toml").write_text("colour = 1\n" + text.replace("identity = ", "admin = 1\nidentity = "))


CASES: list[tuple[str, Callable[[Path], object], str, list[str]]] = [
    ("vend.toml with mistakes", break_settings, "settings_invalid",
     ["colour:", "profiles.graph.scopes[0]:", "profiles.graph.credentials[0].signing:"]),
    ("no vend.toml", lambda folder: (folder / "vend.toml").unlink(), "settings_invalid", ["vend.toml:"]),
    ("vend.toml that is no TOML", lambda folder: (folder / "vend.toml").write_text("cloud = ="), "settings_invalid",
     ["vend.toml: is not valid TOML at line 1"]),
    ("callers.toml with mistakes", break_callers, "callers_invalid", ["colour:", "callers.billing.admin:"]),
    ("no callers.toml", lambda folder: (folder / "callers.toml").unlink(), "callers_unread", ["callers.toml:"]),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "event", "named"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_app_stands_and_says_what_is_wrong(
    site: Site, tmp_path: Path, spoil: Callable[[Path], object], event: str, named: list[str]
) -> None:
    """REL-48, REL-51: bad configuration takes no function away: 503, and every mistake in the log by its key."""
    for name in ("vend.toml", "callers.toml"):
        text = (
            (site.folder / name).read_text().replace(str(site.folder / "callers.toml"), str(tmp_path / "callers.toml"))
        )
        (tmp_path / name).write_text(text)
    spoil(tmp_path)
    settings = {**app_settings(site.cloud, tmp_path / "vend.toml"), **measured()}
    with App(settings=settings, keys=site.folder / "host.keys.json", log=tmp_path / "app.log") as app:
        answer = httpx.post(
            f"{app.url}/api/token",
            data={"grant_type": "client_credentials", "scope": SCOPE},
            headers={"x-functions-key": site.key},
            trust_env=False,
        )
        probed = httpx.get(f"{app.url}/api/health/ready", headers={"x-functions-key": site.key}, trust_env=False)
        by_sdk = httpx.get(
            f"{app.url}/api/msi/token?api-version=2019-08-01&resource={SCOPE}",
            headers={"x-identity-header": site.key},
            trust_env=False,
        )
    for told in (answer, probed, by_sdk):
        check(told)
    assert (probed.status_code, probed.json()["status"]) == (503, "not_ready")
    assert by_sdk.status_code == 503
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "30"
    body = answer.json()
    assert (body["error"], body["retryable"]) == ("temporarily_unavailable", True)
    events = [json.loads(line) for line in (tmp_path / "app.log").read_text().splitlines() if line.startswith("{")]
    told = next(line for line in events if line["event"] == event)
    mistakes = told.get("mistakes") or [told["cause"]]
    assert len(mistakes) == len(named)
    for key in named:
        assert any(mistake.startswith(key) for mistake in mistakes)


def test_a_good_configuration_is_no_mistake(site: Site) -> None:
    """The documents that the cases above spoil are good ones."""
    events: list[dict[str, Any]] = [
        json.loads(line) for line in (site.folder / "app.log").read_text().splitlines() if line.startswith("{")
    ]
    assert not [line for line in events if line["event"].endswith("_invalid")]
