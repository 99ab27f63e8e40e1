"""Clients that know nothing of vend get tokens from it by an identity that they have anyway."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from emulator.seed import CLIENT_ID, GRAPH, TENANT_ID, VEND
from emulator.tour.site import SCOPE, Site, start
from tests.clients.test_stock_clients import HERE, NODE
from tests.conftest import measured
from tests.signer import private_key, public_jwk
from tests.tables import case_id, cases

pytestmark = pytest.mark.slow

NOT_GIVEN = "https://vault.azure.net"
COMMANDS = {
    "workload-identity-node": [str(NODE), str(HERE / "node" / "workload_identity.mjs")],
    "openid-client": [str(NODE), str(HERE / "node" / "openid_client.mjs")],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A client of others; tests/data/identity_clients.toml describes the fields."""

    id: str
    name: str
    route: str
    subject: str = ""
    is_client: bool = False
    key: str = ""
    has_secret: bool = False


CASES = cases("identity_clients.toml", Case)


@dataclass(frozen=True, slots=True)
class Met:
    """What a client was answered, the audit events of its requests, and what it had to prove itself with."""

    token: Mapping[str, Any]
    denied: Mapping[str, Any]
    events: list[dict[str, Any]]
    environment: Mapping[str, str]


def identity(case: Case) -> str:
    """Write the identity of a case into callers.toml; one with a key pair of its own is its own issuer."""
    named = {"issuer": "cluster", "subject": case.subject} if case.subject else {"issuer": case.id, "subject": case.id}
    return ", ".join(f'{name} = "{value}"' for name, value in named.items())


def configure(site: Site) -> None:
    """Write every client into the documents: nobody has a key."""
    audience = f"{site.url}/api/oauth2/token"
    issuers = ""
    for case in CASES:
        if case.key:
            members = public_jwk(f"{case.key} {case.id}").items()
            key = ", ".join(f'{name} = "{value}"' for name, value in members)
            issuers += f'[issuers.{case.id}]\nissuer = "{case.id}"\naudience = "{audience}"\nkeys = [{{ {key} }}]\n'
    settings = site.folder / "vend.toml"
    settings.write_text(settings.read_text().replace("[limits]", f"{issuers}[limits]"))
    allow = f'allow = [{{ profile = "graph", scopes = ["{SCOPE}"] }}]'
    entries = [f"[callers.{case.id}]\nidentity = [{{ {identity(case)} }}]\n{allow}\n" for case in CASES]
    (site.folder / "callers.toml").write_text("".join(entries))


def environment(case: Case, site: Site, folder: Path) -> Mapping[str, str]:
    """Set the four variables of workload identity, and what else a client needs."""
    path = case.route if "{" not in case.route else "oauth2/token"
    found = {
        "AZURE_AUTHORITY_HOST": f"{site.url}/api/entra",
        "AZURE_TENANT_ID": TENANT_ID,
        "AZURE_CLIENT_ID": CLIENT_ID if case.is_client else case.id,
        "TOKEN_URL": f"{site.url}/api/{path}",
        "REQUESTS_CA_BUNDLE": str(site.cloud.ca_file),
        "SSL_CERT_FILE": str(site.cloud.ca_file),
        "NODE_EXTRA_CA_CERTS": str(site.cloud.ca_file),
        "PATH": "/usr/bin:/bin",
    }
    if case.subject:
        (folder / "token").write_text(site.cloud.issuer.token(case.subject, audience=VEND))
        found["AZURE_FEDERATED_TOKEN_FILE"] = str(folder / "token")
    else:
        pem = private_key(f"{case.key} {case.id}").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        found["PRIVATE_KEY_FILE"] = str(folder / "key.pem")
    return found | ({"VEND_KEY": site.key} if case.route == "token" else {})  # which is nobody's here


def events(site: Site, case: Case) -> list[dict[str, Any]]:
    """List the audit events of a client."""
    whole, _, _ = (site.folder / "app.log").read_text().rpartition("\n")
    found = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    return [event for event in found if event.get("caller") == case.id]


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Met]]:
    """Have every client ask for what it may have, and for what it may not."""
    with ExitStack() as stack:
        site = start(stack, tmp_path_factory.mktemp("site"), settings=measured())
        configure(site)
        yield {case.id: meet(case, site, tmp_path_factory.mktemp(case.id)) for case in CASES}


def meet(case: Case, site: Site, folder: Path) -> Met:
    """Run one client as a process that its environment alone sets."""
    command = COMMANDS.get(case.id) or [sys.executable, "-I", str(HERE / "stock.py"), case.id]
    variables = environment(case, site, folder)
    asked = f"{GRAPH}\n{NOT_GIVEN}\n"
    done = subprocess.run(
        command,
        env=variables,
        cwd=folder,
        text=True,
        input=asked,
        capture_output=True,
        timeout=120,
        check=True,
    )
    token, denied = map(json.loads, done.stdout.splitlines())
    return Met(token, denied, events(site, case), variables)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_stock_client_gets_a_token_by_its_identity(met: Mapping[str, Met], case: Case) -> None:
    """It asks once, by its own route; the event names the issuer and the subject."""
    found = met[case.id]
    assert "token" in found.token, found.token
    event = found.events[0]
    assert (event["status"], event["route"]) == (200, case.route)
    assert hashlib.sha256(found.token["token"].encode()).hexdigest().startswith(event["token"])
    assert (event["issuer"], event["subject"]) == (("cluster", case.subject) if case.subject else (case.id, case.id))
    assert 8 <= event["expires_on"] - found.token["expires_on"] <= 13


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_denied_stock_client_reads_the_reason(met: Mapping[str, Met], case: Case) -> None:
    """One request reaches vend, and our words reach the service."""
    found = met[case.id]
    assert "scope is not available to this caller" in found.denied["raised"]
    assert [event["status"] for event in found.events[1:]] == [400]


@pytest.mark.parametrize("case", [case for case in CASES if not case.key and not case.has_secret], ids=case_id)
def test_a_client_of_workload_identity_has_no_secret(met: Mapping[str, Met], case: Case) -> None:
    """Its environment is four variables and where to find the roots; the only file is its own identity token."""
    variables = met[case.id].environment
    known = {"AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "TOKEN_URL"}
    assert variables.keys() - known == {"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "PATH"}
    file = Path(variables["AZURE_FEDERATED_TOKEN_FILE"])
    assert [each.name for each in file.parent.iterdir()] == ["token"]
