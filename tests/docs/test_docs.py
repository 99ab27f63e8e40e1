"""The documents say what the code does."""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import get_args

import pytest

from emulator.tour.ports import PARTS
from emulator.tour.site import Site
from shared.adapters.database.postgresql import CONNECT_SECONDS, LOCK_SECONDS, STATEMENT_SECONDS
from shared.adapters.database.tables import Schema
from shared.core import errors
from shared.core.directory.streams import STREAMS
from shared.core.documents.callers import parse_callers
from shared.core.documents.credentials import CredentialSettings
from shared.core.documents.settings import Profile, Settings
from shared.core.entra.aadsts import known_codes
from shared.core.entra.clouds import CLOUDS
from shared.telemetry.catalogue import EVENTS
from shared.wiring.settings import load_settings
from tests.telemetry.test_metrics import CASES, LOST

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
CREDENTIALS = (ROOT / "docs" / "credentials.md").read_text()
ENVIRON = {
    "TENANT_ID": "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60",
    "CLIENT_ID": "3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835",
    "AZURE_CLIENT_ID": "a86c4d29-07e5-4f1b-93da-6e2b71f05c98",
    "CALLERS_URL": "https://example.blob.core.windows.net/configuration/callers.toml",
    "DIRECTORY_URL": "https://example.blob.core.windows.net/directory/directory.db",
    "KEY_VAULT_URL": "https://example.vault.azure.net",
}


def block(document: str, start: str) -> str:
    """Find the fenced block that begins with a line."""
    found = re.search(rf"^```\w*\n({re.escape(start)}.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_local_page_has_the_address_of_every_part() -> None:
    """A port that no page names is not found: the TLS before the app was such a one."""
    page = (ROOT / "docs" / "local.md").read_text()
    assert [
        part for part, port in PARTS.items() if f"://localhost:{port}" not in page.replace("127.0.0.1", "localhost")
    ] == []


def test_the_shortest_documents_are_good(tmp_path: Path) -> None:
    """The shortest vend.toml and callers.toml work as they stand there, once the hash is one; twelve lines suffice."""
    shortest = block(CONFIGURATION, "# vend.toml")
    (tmp_path / "vend.toml").write_text(shortest)
    callers = block(CONFIGURATION, "# callers.toml")
    (tmp_path / "callers.toml").write_text(re.sub(r"<SHA-256[^>]*>", "0" * 64, callers))
    settings = load_settings(ENVIRON, root=tmp_path)
    assert parse_callers(
        (tmp_path / "callers.toml").read_bytes(), settings.offers, name="callers.toml"
    ).callers.keys() == {"billing"}
    assert len(shortest.splitlines()) <= 12


def test_the_deployed_documents_are_good() -> None:
    """vend.toml loads with the app settings that it names, and callers.toml.example fits it."""
    settings = load_settings(ENVIRON, root=ROOT)
    assert parse_callers(
        (ROOT / "callers.toml.example").read_bytes(), settings.offers, name="callers.toml"
    ).callers.keys() == {"billing"}


@pytest.mark.parametrize("example", re.findall(r"^```toml\n(.*?)^```$", CREDENTIALS, re.MULTILINE | re.DOTALL))
def test_the_credentials_of_the_page_are_good(example: str, tmp_path: Path) -> None:
    """Each example of docs/credentials.md takes the place of the credential in the shortest vend.toml."""
    profile, _, _ = block(CONFIGURATION, "# vend.toml").partition("[[profiles.graph.credentials]]")
    (tmp_path / "vend.toml").write_text(profile + example)
    more = dict.fromkeys(re.findall(r"\$\{(\w+)\}", example), "x") | ENVIRON
    assert load_settings(more, root=tmp_path).profiles["graph"].credentials


def test_every_kind_of_credential_is_documented() -> None:
    """docs/credentials.md has a row for each in both of its tables, and configuration.md names it."""
    for kind in get_args(CredentialSettings.__value__):
        assert len(re.findall(rf"^\|.*`{kind.type}`.*\|$", CREDENTIALS, re.MULTILINE)) >= 2
        assert f"`{kind.type}`" in CONFIGURATION


def test_every_setting_is_documented() -> None:
    """docs/configuration.md has each key of the document and of a profile; that of [limits] is made of the code."""
    for shape in (Settings, Profile):
        for field in fields(shape):
            assert field.name == "name" or field.name in CONFIGURATION


def test_the_way_to_postgresql_is_documented() -> None:
    """docs/configuration.md has the audience and the servers of each cloud, and how long vend waits for one."""
    section = CONFIGURATION.partition("connects to a PostgreSQL store")[2].partition("## Limits")[0]
    for cloud in CLOUDS.values():
        assert f"`{cloud.database_audience}`" in section
        assert f"`{cloud.database}`" in section
    seconds = f"{CONNECT_SECONDS} s to connect, {LOCK_SECONDS} s for a lock, {STATEMENT_SECONDS} s for a statement"
    assert seconds in section


def test_every_error_is_documented() -> None:
    """docs/errors.md has each status with its error."""
    rows = [line for line in (ROOT / "docs" / "errors.md").read_text().splitlines() if line.startswith("| ")]
    for error in vars(errors).values():
        if not isinstance(error, type) or not issubclass(error, errors.VendError):
            continue
        if error in {errors.VendError, errors.Refused}:
            continue  # branches of the tree
        assert [row for row in rows if str(error.status) in row and f"`{error.error}`" in row], error.__name__


def test_every_check_is_documented() -> None:
    """docs/operations.md has each check of the probe, with something in the column of each state that it can have."""
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Events")[0]
    found = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\|$", section, re.MULTILINE)
    documented = {
        (name, state)
        for name, *columns in found
        for state, text in zip(("DEGRADED", "FAILED"), columns, strict=True)
        if text
    }
    written = re.findall(
        r'Check\(\s*"(\w+)",\s*State\.(\w+)', "\n".join(file.read_text() for file in ROOT.glob("shared/**/*.py"))
    )
    assert documented == {(name, state) for name, state in written if state != "OK"}


@pytest.mark.parametrize("file", [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")], ids=attrgetter("name"))
def test_every_event_of_a_page_exists(file: Path) -> None:
    """A name that begins as an event does is one, unless a contract or the database has it; so in queries."""
    events = {event.about.name for event in EVENTS}
    families = "|".join({name.partition("_")[0] for name in events})
    keys = set(re.findall(r'"(\w+)":', "".join(schema.read_text() for schema in ROOT.glob("docs/*.json"))))
    for table in Schema(STREAMS.values()).tables:
        keys |= {table.name, *(str(index.name) for index in table.indexes)}
    page = file.read_text()
    named = set(re.findall(rf"`((?:{families})_\w+)`", page)) - keys
    assert named | set(re.findall(r'event == "(\w+)"', page)) <= events


def test_every_metric_is_documented() -> None:
    """docs/operations.md has each instrument with its unit and its attributes, and no other."""
    rows = re.findall(
        r"^\| `(vend\.[\w.]+)` \| `([^`]+)` \| (.*?) \|", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    documented = {
        (name, unit, attribute) for name, unit, rest in rows for attribute in re.findall(r"`(.+?)`", rest) or [""]
    }
    counted = {
        (number.name, number.unit, attribute)
        for case in CASES
        for number in case.numbers
        for attribute in number.attributes
    }
    assert documented == counted | {(LOST.name, LOST.unit, "")}


def test_a_number_of_entras_is_found_by_its_name() -> None:
    """FND-D11: docs/errors.md has each number as events and logs write it, in the order of the numbers."""
    found = [
        int(number)
        for number in re.findall(r"^\| AADSTS(\d+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    ]
    assert found == sorted(known_codes())


def test_every_part_and_every_failure_of_a_connection_is_documented() -> None:
    """FND-D1: docs/errors.md has a row for each part that a cause can begin with, and for each way not to reach one."""
    page = (ROOT / "docs" / "errors.md").read_text()
    source = "\n".join(file.read_text() for file in ROOT.glob("shared/**/*.py"))
    parts = {*re.findall(r'^NAME = "(.+)"', source, re.MULTILINE), *re.findall(r'\.upstream\("(\w+)"', source)}
    assert {"Entra", "Key Vault"} <= parts
    assert [part for part in sorted(parts) if f"\n| `{part}:` |" not in page] == []
    failures = set(re.findall(r'cause=f"\{self\._name\}: ([\w ]+)"|_Unusable\("([\w ]+)"\)', source))
    assert [text for text in map("".join, sorted(failures)) if f"`{text}`" not in page] == []
    assert len(failures) >= 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_line_of_the_readme_gets_a_token(site: Site) -> None:
    """The request of the README works when it is pasted."""
    line = block(README, 'curl -s "$VEND_URL').replace("\\\n", " ")
    environ = {"VEND_URL": site.app.url, "VEND_KEY": site.key, "PATH": os.environ["PATH"]}
    done = subprocess.run(["sh", "-c", line], env=environ, capture_output=True, text=True, check=True)  # noqa: S607
    assert json.loads(done.stdout)["token_type"] == "Bearer"
    assert shlex.split(line)[0] == "curl"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/local.md"])
def test_every_make_target_of_a_page_exists(page: str) -> None:
    """What a page tells to run is there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE)) <= targets


def test_every_link_leads_somewhere() -> None:
    """No document links to a file that is not there."""
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} -> {target}"
