"""A server that is not Entra's, npm's oidc-provider, takes what vend proves itself by: OAuth, and nothing of Microsoft.

It takes each client assertion once, as OpenID Connect Core section 9 permits.
"""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import trustme
from jwt.algorithms import RSAAlgorithm

from emulator.cloud import LocalCloud
from emulator.seed import IDENTITY_PRINCIPAL_ID, TENANT_ID
from emulator.tour.app import SECONDS_TO_STOP
from emulator.tour.site import app_settings
from tests.clients.test_stock_clients import HERE, NODE
from tests.clock import FakeClock
from tests.credentials.kinds import KINDS, READS_SECRETS, Client, Kind, new_client
from tests.in_process import GRAPH_SCOPE, ORDERS_SCOPE, App

pytestmark = pytest.mark.slow

KNOWN = [kind for kind in KINDS if kind.proof != "issuer"]
"""The kinds that this server knows: it trusts no issuer of another's tokens."""


class Server:
    """The server, in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.origin = self._line()

    def answers(self, count: int) -> list[int]:
        """Return the statuses of its next answers; each was to a request for a token of the tenant."""
        seen = [json.loads(self._line()) for _ in range(count)]
        assert {each["path"] for each in seen} == {f"/{TENANT_ID}/oauth2/v2.0/token"}
        return [each["status"] for each in seen]

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        assert line, "the server has ended, see its stderr; `make .venv/node` has what Node needs"
        return line


@contextmanager
def serving(authority: trustme.CA, *clients: dict[str, Any]) -> Iterator[Server]:
    """Run the server with these clients."""
    certificate = authority.issue_cert("localhost")
    about = {
        "key": certificate.private_key_pem.bytes().decode(),
        "cert": certificate.cert_chain_pems[0].bytes().decode(),
        "tenant": TENANT_ID,
        "scopes": [GRAPH_SCOPE, ORDERS_SCOPE],
        "clients": clients,
    }
    command = [str(NODE), str(HERE / "node" / "oidc_server.mjs")]
    with subprocess.Popen(command, cwd="/", text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            process.stdin.write(json.dumps(about) + "\n")
            process.stdin.flush()
            yield Server(process)
            process.communicate(timeout=SECONDS_TO_STOP)
        finally:
            process.kill()


def registered(client: Client, kind: Kind) -> dict[str, Any]:
    """Describe a client of the local cloud to another server (RFC 7591 section 2)."""
    if kind.proof == "secret":
        secret = client.secrets["client secret"]
        return {"client_id": client.id, "client_secret": secret, "token_endpoint_auth_method": "client_secret_post"}
    application = client.cloud.directory.application(client.id)
    assert application
    (known,) = application.certificates.values()
    key = json.loads(RSAAlgorithm.to_jwk(known.certificate.public_key))
    return {
        "client_id": client.id,
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "PS256",
        "jwks": {"keys": [{**key, "alg": "PS256", "use": "sig"}]},
    }


@dataclass(frozen=True)
class Foreign:
    """The server and its clients; the credentials of each are in the local cloud, by the name of their kind."""

    server: Server
    roots: Path
    clients: Mapping[str, Client]
    settings: Mapping[str, str]


@pytest.fixture(scope="module")
def foreign(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """One server with a client for each kind that it knows."""
    authority, roots = trustme.CA(), tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.write_bytes(cloud.ca_file.read_bytes() + authority.cert_pem.bytes())
    cloud.vault.assign(IDENTITY_PRINCIPAL_ID, READS_SECRETS)
    clients = {kind.id: new_client(cloud, tmp_path_factory.mktemp("app")) for kind in KNOWN}
    settings = {kind.id: clients[kind.id].settings(kind.make(clients[kind.id])) for kind in KNOWN}
    with serving(authority, *(registered(clients[kind.id], kind) for kind in KNOWN)) as server:
        yield Foreign(server, roots, clients, settings)


@pytest.mark.parametrize("kind", KNOWN, ids=attrgetter("id"))
def test_a_foreign_server_takes_the_proof(
    kind: Kind, foreign: Foreign, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FND-G6: a second request with the same assertion is refused there, and is signed anew once, behind the caller."""
    server, client, clock = foreign.server, foreign.clients[kind.id], FakeClock()
    clock.jump(cloud.clock() - clock.wall())  # the server has no other time than the real one
    settings = foreign.settings[kind.id] + f"network.ca_file = {json.dumps(str(foreign.roots))}\n"
    for name, value in app_settings(cloud, client.folder).items():
        monkeypatch.setenv(name, value)

    async def story() -> None:
        app = App(cloud, clock, client.folder, settings=settings, authority=server.origin, environ=client.environ)
        async with app:
            for scope in (GRAPH_SCOPE, ORDERS_SCOPE):
                assert (await app.ask(scope)).status == 200, app.lines
            signed = kind.proof == "certificate"
            assert server.answers(3 if signed else 2) == ([200, 401, 200] if signed else [200, 200])
            assert app.everything("credential_rests") == []

    asyncio.run(story())
