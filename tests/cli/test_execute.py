"""`./vend exec` and `./vend env`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from cli.execute import ELSEWHERE
from emulator.seed import TENANT_ID
from emulator.tour.site import Site
from tests.cli.conftest import KEY, SCOPE, Run, launch

URL = "http://127.0.0.1:9"
ASK = f"""
from azure.identity import DefaultAzureCredential
print(DefaultAzureCredential().get_token("{SCOPE}").token)
"""
GIVEN = ("AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "NETRC")
OTHERS = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_KUBERNETES_TOKEN_PROXY")  # fmt: skip
OWN = "IDENTITY_ENDPOINT is set: this process does not use its own identity.\n"
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)])); sys.exit(7)"


@pytest.mark.slow
def test_a_stock_sdk_gets_its_token_from_vend(site: Site) -> None:
    """DefaultAzureCredential, whatever identity it was told to take before."""
    environ = {
        "VEND_URL": site.app.url,
        "VEND_KEY_FILE": str(site.folder / "billing.key"),
        "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000001",
        "MSI_ENDPOINT": "http://127.0.0.1:9",
    }
    done = launch("exec", "billing", "--", sys.executable, "-c", ASK, environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert jwt.decode(done.stdout.strip(), options={"verify_signature": False})["roles"] == ["User.Read.All"]


@pytest.mark.slow
def test_a_program_is_run_as_it_stands_there() -> None:
    """Its arguments and its exit code are its own; what would lead an SDK elsewhere is gone, all else is there."""
    environ = dict.fromkeys(ELSEWHERE, "x") | {"VEND_KEY": KEY, "VEND_URL": f"{URL}/", "PYTHONPATH": "y"}
    done = launch("exec", "billing", "--", sys.executable, "-c", SHOW, "a b", "--app", environ=environ)
    arguments, seen = json.loads(done.stdout)
    assert (done.returncode, arguments, seen["PYTHONPATH"]) == (7, ["a b", "--app"], "y")
    assert (seen["IDENTITY_ENDPOINT"], seen["IDENTITY_HEADER"]) == (f"{URL}/api/msi/token", KEY)
    assert set(seen).isdisjoint(ELSEWHERE)
    assert Path(seen["NETRC"]).read_bytes() == b""  # FND-A5


@pytest.mark.slow
def test_a_stock_sdk_shows_an_identity_token(site: Site) -> None:
    """No key is asked for, and none is in the environment of the program; another identity that it was told is gone."""
    file = site.folder / "billing.token"
    environ = {
        "VEND_URL": site.url,
        "AZURE_TENANT_ID": TENANT_ID,
        "SSL_CERT_FILE": str(site.cloud.ca_file),
        "REQUESTS_CA_BUNDLE": str(site.cloud.ca_file),
        **dict.fromkeys(OTHERS, "x"),
    }
    words = ("exec", "billing", "--identity-file", str(file), "--", sys.executable, "-c")
    done = launch(*words, ASK, environ=environ)
    assert (done.returncode, done.stderr) == (0, OWN)
    assert jwt.decode(done.stdout.strip(), options={"verify_signature": False})["roles"] == ["User.Read.All"]
    _, seen = json.loads(launch(*words, SHOW, environ=environ).stdout)
    assert {name: seen.get(name) for name in (*GIVEN, *OTHERS)} == {
        "AZURE_AUTHORITY_HOST": f"{site.url}/api/entra",
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_CLIENT_ID": "billing",
        "AZURE_FEDERATED_TOKEN_FILE": str(file),
        "NETRC": os.devnull,
        **dict.fromkeys(OTHERS),
    }
    assert site.key not in seen.values()


def test_the_lines_for_an_identity_token_hold_no_secret(run: Run, tmp_path: Path) -> None:
    """They name the file, from whatever folder they are used; nothing is to be hidden, so that nothing is said."""
    file = tmp_path / "token of billing"
    file.write_text(KEY)
    words = ("env", "billing", "--app", "https://vend.example", "--identity-file", str(file), "--tenant", TENANT_ID)
    done = run(*words)
    (tmp_path / "lines").write_text(
        f'{done.stdout}\nprintf "%s %s" "$AZURE_AUTHORITY_HOST" "$AZURE_FEDERATED_TOKEN_FILE"'
    )
    shell = subprocess.run(["/bin/sh", tmp_path / "lines"], capture_output=True, text=True, check=True)
    assert shell.stdout == f"https://vend.example/api/entra {file}"
    assert (done.exit_code, done.stderr, KEY in done.stdout) == (0, "", False)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--tenant", TENANT_ID, "--app", "http://localhost:7071"),
            "--app: clients of Entra speak to https alone; docs/local.md has the https address of `make run`",
        ),
        (("--app", "https://vend.example"), "--tenant: is needed beside --identity-file"),
        (("--app", "https://vend.example", "--tenant", "common"), "--tenant: must be a GUID"),
    ],
)
def test_what_an_identity_token_needs_is_asked_for(run: Run, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    """Each slip ends with exit code 2, before a program runs that would fail with the words of its SDK."""
    (tmp_path / "token").write_text("x")
    done = run("env", "billing", "--identity-file", str(tmp_path / "token"), *words)
    assert (done.exit_code, done.stderr.startswith(says)) == (2, True), done.stderr


def test_a_program_that_is_not_there_is_told(run: Run) -> None:
    """One line and exit code 1, not a traceback."""
    done = run("exec", "billing", "--app", URL, "--", "/no/such/program", VEND_KEY=KEY)
    assert (done.exit_code, done.stderr) == (1, "/no/such/program cannot be run (FileNotFoundError).\n")


@pytest.mark.parametrize("own", ["", "http://169.254.255.2:8081/msi/token"], ids=["elsewhere", "on App Service"])
def test_the_lines_are_for_a_shell(run: Run, tmp_path: Path, own: str) -> None:
    """A shell takes them whatever is in the key; that it is in them, and what they replace, is told on stderr."""
    key = 'it\'s-$(a)-`key`-"of"-billing'
    done = run("env", "billing", "--app", URL, VEND_KEY=key, IDENTITY_ENDPOINT=own)
    (tmp_path / "lines").write_text(f'{done.stdout}\nprintf "%s %s" "$IDENTITY_ENDPOINT" "$IDENTITY_HEADER"')
    shell = subprocess.run(["/bin/sh", tmp_path / "lines"], capture_output=True, text=True, check=True)
    assert shell.stdout == f"{URL}/api/msi/token {key}"
    assert "These lines hold the key" in done.stderr
    assert ("this process does not use its own identity" in done.stderr) is bool(own)


@pytest.mark.parametrize("command", [("env", "billing"), ("exec", "billing", "--", "true")], ids=["env", "exec"])
def test_a_key_goes_into_no_clear_text(run: Run, command: tuple[str, ...]) -> None:
    """Over http to this machine alone, as for every command."""
    done = run(*command, VEND_URL="http://vend.example", VEND_KEY=KEY)
    assert (done.exit_code, KEY in done.output) == (2, False)
    assert done.stderr.startswith("--app: http is for this machine alone")
