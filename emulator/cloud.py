"""The local cloud: its parts composed, each behind a gate that can fail, for `make run` and for tests.

with LocalCloud(folder) as cloud:
    requests.get(f"{cloud.authority}/...", verify=cloud.ca_file)
    cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503))
"""

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from starlette.types import ASGIApp

from emulator.blob.app import RESOURCE as STORAGE
from emulator.blob.app import BlobStorage
from emulator.clock import Clock, Dates
from emulator.control import Control
from emulator.control_directory import DirectoryControl
from emulator.control_graph import GraphControl
from emulator.control_issuer import IssuerControl
from emulator.control_objects import ObjectControl
from emulator.directory.evolution import Evolution
from emulator.directory.people import People
from emulator.directory.population import Size
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.entra.app import Entra
from emulator.graph.app import Graph
from emulator.identity import app as managed_identity
from emulator.identity.app import ManagedIdentityEndpoint
from emulator.issuer.app import OidcIssuer
from emulator.management.app import RESOURCE as MANAGEMENT
from emulator.management.app import Management
from emulator.network.ca import CertificateAuthority
from emulator.network.faults import HttpFaults, Switch
from emulator.network.flaws import ServerTls
from emulator.network.gate import Gate
from emulator.network.serve import HOST, Background
from emulator.rehearsals import (
    Rehearsals,
    closed_vault,
    impostor,
    other_audience,
    other_dates,
    unregistered,
    withheld_members,
    without_roles,
)
from emulator.seed import (
    CLIENT_ID,
    CONTAINER,
    DIRECTORY_CONTAINER,
    FOREIGN_TOKEN_EXCHANGES,
    GRAPH,
    GRAPH_ROLES,
    OPERATOR_PRINCIPAL_ID,
    ORDERS,
    TENANT_ID,
    TOKEN_EXCHANGE,
    seed,
)
from emulator.vault.app import RESOURCE as KEY_VAULT
from emulator.vault.app import KeyVault
from emulator.witness import Belongs, Misdirected, MisdirectedSecretWarning, Witness, audience_of

PARTS = ("entra", "vault", "identity", "graph", "blob", "management", "issuer")
LABELS = {"login": "entra"} | {part: part for part in PARTS[1:] if part != "identity"}  # of host names
PLAIN = {"identity"}  # as on App Service, where its traffic never leaves the machine
REGION = "westeurope"  # whose name the certificate has: OpenSSL takes no wildcard before a single label


class LocalCloud(AbstractContextManager["LocalCloud"]):
    """Runs from `with` to its end; `ports` fixes those of some parts or of `control`, the others are free ones.

    `clock` is `now` plus what a test or the control API has added; every part reads it. Once entered the cloud has
    `ca_file`, the URLs `authority`, `vault_url`, `graph_url`, `blob_url`, `management_url`, `issuer_url`,
    `identity_endpoint` and `control`, and the `identity_header` of the identity endpoint. Tests inspect and change its
    parts. `directory` is the one store, with the `objects` of the seeded tenant, its `people` and its `evolution`. The
    others: `tokens`, `entra`, `vault`, `identity`, `graph`, `blob`, `management`, `issuer`, `faults`, `rehearsals`. A
    further part is a name in PARTS, a URL and one `_open`.

    `users` is how many people the tenant has, with the other objects in proportion, or a `Size` that names them all.

    With a `domain`, the URLs of the parts in LABELS have a label and a dot before it, and no port. Only a
    `ForwardProxy` with these `names` resolves them.

    `misdirected` lists the secrets that arrived at a part that they are not for. If there are any at the end, that is a
    `MisdirectedSecretWarning`.

    Raises:
        OSError: a port is taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] = MappingProxyType({}),
        now: Callable[[], float] = time.time,
        domain: str = "",
        users: int | Size = 20,
    ) -> None:
        self.clock = Clock(now)
        self._folder = folder
        self._ports = ports
        self._domain = domain
        self._size = users if isinstance(users, Size) else Size.of(users)
        self._stack = ExitStack()
        self.dates = Dates(self.clock)
        self._background = Background(self.dates)
        self._gates: dict[str, Gate] = {}
        self.faults: dict[str, Switch] = {}
        self.misdirected: list[Misdirected] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._background)
            ca = CertificateAuthority()
            self.ca_file = ca.write(self._folder)
            tls = self._tls = ServerTls(ca, self._certified())
            # Every port is known before any part starts: tokens and challenges name the address of another part.
            for part in PARTS:
                self.faults[part] = Switch(self._background.run)
                context = None if part in PLAIN else tls
                self._gates[part] = Gate(self.faults[part], tls=context, port=self._ports.get(part, 0))
                stack.callback(self._close, part)
            labels = LABELS if self._domain else {}
            self.names = {f"{label}.{self._domain}": self._gates[part].port for label, part in labels.items()}
            self.authority = self._url("login")
            self.identity_endpoint = f"http://{HOST}:{self._gates['identity'].port}{managed_identity.PATH}"

            self.directory = Directory(now=self.clock)
            self.tokens = AccessTokens(self.directory, authority=self.authority)
            self.vault_url = self._url("vault")
            self.vault = KeyVault(
                authority=self.authority,
                tenant_id=TENANT_ID,
                authenticate=partial(self.tokens.authenticate, audience=KEY_VAULT),
                now=self.clock,
            )
            self.graph_url = self._url("graph")
            self.blob_url = self._url("blob")
            self.blob = BlobStorage(
                authority=self.authority,
                tenant_id=TENANT_ID,
                authenticate=partial(self.tokens.authenticate, audience=STORAGE),
                now=self.clock,
                containers=frozenset({CONTAINER, DIRECTORY_CONTAINER}),
            )
            self.management_url = self._url("management")
            self.management = Management(authenticate=partial(self.tokens.authenticate, audience=MANAGEMENT))
            self.management.add_contributor(OPERATOR_PRINCIPAL_ID)
            self.issuer_url = self._url("issuer")
            self.issuer = OidcIssuer(url=self.issuer_url, now=self.clock)
            seed(
                self.directory,
                self.vault,
                self.blob,
                size=self._size,
                graph_url=self.graph_url,
                management_url=self.management_url,
            )
            self.objects = self.directory.objects(TENANT_ID)
            self.people = People(self.objects)
            self.evolution = Evolution(self.objects)
            (identity,) = self.directory.identities()
            self.identity_header = identity.header
            self.entra = Entra(self.directory, self.tokens)
            self.identity = ManagedIdentityEndpoint(self.directory, self.tokens)
            self.graph = Graph(self.directory, self.tokens, url=self.graph_url)
            self._open("entra", self.entra.app, {"client_assertion": self._is_for_entra, "client_secret": _anywhere})
            self._open("vault", self.vault.app, self._tokens_for(KEY_VAULT))
            self._open("identity", self.identity.app, {"x-identity-header": self._is_of_identity})
            self._open("graph", self.graph.app, {**self._tokens_for(self.graph_url), "proof": _adds_a_key})
            self._open("blob", self.blob.app, self._tokens_for(STORAGE))
            self._open("management", self.management.app, self._tokens_for(MANAGEMENT))
            self._open("issuer", self.issuer.app, {})

            self.rehearsals = self._rehearsals()
            others = (
                *self.rehearsals.routes,
                *DirectoryControl(self.directory).routes,
                *ObjectControl(self.objects, self.evolution).routes,
                *GraphControl(self.graph).routes,
                *IssuerControl(self.issuer).routes,
            )
            control = Control(faults=self.faults, entra=self.entra, clock=self.clock, others=others)
            control_port = self._background.serve(control.app, port=self._ports.get("control", 0))
            self.control = f"http://{HOST}:{control_port}"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if self.misdirected and error is None:
            found = "; ".join(f"{one.name} at {one.part} {one.path}" for one in self.misdirected)
            warnings.warn(f"secrets arrived where they do not belong: {found}", MisdirectedSecretWarning, stacklevel=2)

    def publish(self, port: int) -> str:
        """Serve what listens on a loopback port by TLS too, as Azure's front end does; return its URL."""
        gate = self._gates["app"] = Gate(Switch(self._background.run), tls=self._tls, port=self._ports.get("app", 0))
        self._stack.callback(self._close, "app")
        self._background.run(gate.open(port))
        return f"https://localhost:{gate.port}"

    def _rehearsals(self) -> Rehearsals:
        principal = self.directory.service_principal(CLIENT_ID, tenant_id=TENANT_ID)
        assert principal is not None
        found = Rehearsals()
        found.add("audience", other_audience(self.directory, ORDERS))
        found.add("certificate", unregistered(self.directory, CLIENT_ID))
        found.add("clock", other_dates(self.dates))
        consent = without_roles(self.directory, principal.object_id, resource=GRAPH, roles=GRAPH_ROLES)
        found.add("consent", consent)
        found.add("firewall", closed_vault(self.vault))
        found.add("impostor", impostor(self.entra))
        found.add("members", withheld_members(self.graph))
        return found

    def _tokens_for(self, audience: str) -> Belongs:
        """Return the rule of a part that takes bearer tokens: those of its own API, in whatever spelling."""
        own = self.directory.api(audience)
        return {"authorization": lambda header, _: own is not None and self.directory.api(audience_of(header)) == own}

    def _is_for_entra(self, assertion: str, _path: str) -> bool:
        """Return whether an assertion of the client, or a token for a federated credential, may arrive."""
        audience = audience_of(assertion)
        exchanges = (self.directory.api(name) for name in (TOKEN_EXCHANGE, *FOREIGN_TOKEN_EXCHANGES))
        return audience.startswith(f"{self.authority}/") or self.directory.api(audience) in set(exchanges) - {None}

    def _is_of_identity(self, header: str, _path: str) -> bool:
        return header == self.identity_header

    def _url(self, label: str) -> str:
        return (
            f"https://{label}.{self._domain}"
            if self._domain
            else f"https://localhost:{self._gates[LABELS[label]].port}"
        )

    def _certified(self) -> tuple[str, ...]:
        """Return the host names of the certificate of the parts."""
        if not self._domain:
            return ("localhost", f"{REGION}.localhost")
        return (*(f"{label}.{self._domain}" for label in LABELS), f"*.login.{self._domain}")

    def _open(self, part: str, app: ASGIApp, belongs: Belongs) -> None:
        faulty = HttpFaults(app, self.faults[part])
        behind = self._background.serve(Witness(faulty, part=part, belongs=belongs, report=self.misdirected.append))
        self._background.run(self._gates[part].open(behind))

    def _close(self, part: str) -> None:
        self._background.run(self._gates[part].close())


def _anywhere(_value: str, _path: str) -> bool:
    return True


def _adds_a_key(_proof: str, path: str) -> bool:
    """Return whether a proof may arrive at a path of Graph: `removeKey` takes one too, but vend removes no key."""
    return path.endswith("/addKey")
