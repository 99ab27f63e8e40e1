"""A key or a token goes to the one origin that it is for, over TLS or within this machine."""

import os
import re
import sys
from pathlib import Path

import httpx
import pytest
import typer
from starlette.responses import RedirectResponse

from cli.http import Secret, bearer, function_key, send
from emulator.cloud import LocalCloud
from emulator.seed import OPERATOR_CLIENT_ID
from emulator.tour.site import write_configuration
from shared.core.origins import origin_of
from tests.cli.conftest import KEY, SCOPE, Oracle, Run, login_as
from tests.cli.desk import Secrets


@pytest.fixture
def hostile(cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A vend.toml whose callers document is at another service than the cloud's storage, for a logged-in operator."""
    write_configuration(cloud, tmp_path, {"billing": KEY})
    config = tmp_path / "vend.toml"
    config.write_text(config.read_text().replace(str(tmp_path / "callers.toml"), f"{cloud.vault_url}/c/callers.toml"))
    login_as(cloud, OPERATOR_CLIENT_ID, tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    return config


@pytest.mark.parametrize(
    "command",
    [
        ("check",),
        ("check", "--remote"),
        ("callers", "list"),
        ("callers", "explain", "billing", "--scope", SCOPE),
        ("callers", "add", "reports", "--allow", SCOPE),
        ("callers", "roll", "billing"),
        ("callers", "revoke", "billing"),
        ("callers", "allow", "billing", SCOPE),
        ("callers", "deny", "billing", SCOPE),
        ("callers", "set", "billing", "--rate", "1"),
        ("callers", "purge"),
    ],
    ids=" ".join,
)
def test_a_document_outside_of_the_storage_gets_no_token(
    run: Run, hostile: Path, secrets: Secrets, command: tuple[str, ...]
) -> None:
    """FND-A1, FND-A2, SEC-29. Whatever a vend.toml names as the place of the callers."""
    done = run(*command, "--config", str(hostile), VEND_URL="http://127.0.0.1:9")
    assert (done.exit_code, secrets) == (1, [])
    assert "callers: is not in the cloud's storage domain" in done.stdout


def test_a_check_reads_no_blob_unless_asked(run: Run, cloud: LocalCloud, hostile: Path, secrets: Secrets) -> None:
    """FND-A1. Even a cloud of the document's own, which names the other service as its storage, gets nothing."""
    hostile.write_text(hostile.read_text().replace(f'blob = "{cloud.blob_url}"', f'blob = "{cloud.vault_url}"'))
    assert (run("check", "--config", str(hostile)).exit_code, secrets) == (0, [])


class Traffic:
    """What this process looks up, connects to and starts: Python reports it to audit hooks, whoever does it."""

    NAMES = frozenset({"socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.posix_spawn"})

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.is_on = False
        sys.addaudithook(self._record)  # it stays for the life of the process

    def _record(self, name: str, details: tuple[object, ...]) -> None:
        if self.is_on and name in self.NAMES:
            self.seen.append((name, str(details)))


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """The recorder of this process."""
    return Traffic()


@pytest.mark.parametrize(
    "key", ["authority", "graph", "management", "blob", "vault", "callers", "proxy", "credentials"]
)
def test_a_check_of_a_hostile_document_sends_nothing(
    run: Run, cloud: LocalCloud, hostile: Path, traffic: Traffic, key: str
) -> None:
    """SEC-29. Whichever address is another's: no name is looked up, no connection made, and `az` is not started."""
    evil = "https://evil.example:9443"
    text = hostile.read_text()
    text = re.sub(r"^callers = .*", f"callers = '{cloud.blob_url}/c/callers.toml'", text, flags=re.MULTILINE)
    if key == "callers":
        text = text.replace(cloud.blob_url, evil)  # the custom cloud of the document calls that its storage
    elif key == "proxy":
        text = text.replace("[network]", f"[network]\nproxy = '{evil}'")
    elif key == "credentials":
        clouds, table, profiles = text.partition("[network]")
        text = clouds + table + profiles.replace(cloud.vault_url, evil)
    else:
        text = re.sub(rf"^{key} = .*", f"{key} = '{evil}'", text, flags=re.MULTILINE)
    assert evil in text
    hostile.write_text(text)
    traffic.seen.clear()
    traffic.is_on = True
    try:
        done = run("check", "--config", str(hostile))
    finally:
        traffic.is_on = False
    assert traffic.seen == []
    assert done.exit_code in {0, 1}
    assert "Traceback" not in done.output


def test_the_recorder_sees_a_connection(run: Run, hostile: Path, cloud: LocalCloud, traffic: Traffic) -> None:
    """With --remote a connection is made, to the storage that the document names, and `az` is started for its token."""
    hostile.write_text(hostile.read_text().replace(f'blob = "{cloud.blob_url}"', f'blob = "{cloud.vault_url}"'))
    traffic.seen.clear()
    traffic.is_on = True
    try:
        run("check", "--remote", "--config", str(hostile))
    finally:
        traffic.is_on = False
    assert {"socket.connect", "subprocess.Popen"} <= {name for name, _ in traffic.seen}


def test_a_redirect_is_not_followed(run: Run, oracle: tuple[Oracle, str], cloud: LocalCloud, secrets: Secrets) -> None:
    """FND-A2. Neither the key nor the form goes on to where an answer points."""
    serving, url = oracle
    serving.answer = RedirectResponse(f"{cloud.vault_url}/api/token", 307)
    assert run("token", "billing", "--scope", SCOPE, "--app", url, VEND_KEY=KEY).exit_code == 1
    assert secrets == [("x-functions-key", origin_of(url))]


@pytest.mark.parametrize(
    ("secret", "url"),
    [
        (function_key(KEY, app="https://vend.example"), "https://vend.example.evil/api/token"),
        (function_key(KEY, app="https://vend.example"), "https://vend.example:8443/api/token"),
        (function_key(KEY, app="https://vend.example"), "http://vend.example/api/token"),
        (function_key(KEY, app="http://vend.example"), "http://vend.example/api/token"),
        (function_key(KEY, app="https://vend@evil"), "https://vend@evil/api/token"),
        (bearer(KEY, service="https://a.blob.core.windows.net/c/x"), "https://b.blob.core.windows.net/c/x"),
        (bearer(KEY, service="https://management.azure.com"), "https://management.azure.com.evil/x"),
    ],
    ids=["host", "port", "scheme", "clear text", "user name", "account", "suffix"],
)
def test_a_secret_for_another_origin_is_not_sent(
    secrets: Secrets, capfd: pytest.CaptureFixture[str], secret: Secret, url: str
) -> None:
    """SEC-29. The one function that attaches it compares scheme, host and port first."""
    with pytest.raises(typer.Exit):
        send(httpx.Request("GET", url), secret=secret)
    assert secrets == []
    assert KEY not in capfd.readouterr().err
