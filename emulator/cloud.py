"""The local cloud: its parts composed, each behind a gate that can fail, for `make run` and for anyone's tests.

with LocalCloud(folder) as cloud:
    requests.get(f"{cloud.authority}/...", verify=cloud.ca_file)
    cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503))
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from starlette.types import ASGIApp

from emulator.blob.app import RESOURCE, BlobStorage
from emulator.control import Control
from emulator.directory.people import People
from emulator.directory.store import Directory
from emulator.entra.app import Entra
from emulator.graph.app import Graph
from emulator.identity import app as managed_identity
from emulator.identity.app import ManagedIdentityEndpoint
from emulator.management.app import Management
from emulator.network.ca import CertificateAuthority
from emulator.network.faults import HttpFaults, Switch
from emulator.network.flaws import ServerTls
from emulator.network.gate import Gate
from emulator.network.serve import HOST, Background
from emulator.seed import CONTAINER, OPERATOR_PRINCIPAL_ID, TENANT_ID, seed
from emulator.vault.app import KeyVault

PARTS = ("entra", "vault", "identity", "graph", "blob", "management")
LABELS = {"login": "entra"} | {part: part for part in ("vault", "graph", "blob", "management")}  # of host names
PLAIN = {"identity"}  # as on App Service, where its traffic never leaves the machine
REGION = "westeurope"  # whose name the certificate has: OpenSSL takes no wildcard before a single label


class LocalCloud(AbstractContextManager["LocalCloud"]):
    """Runs from `with` to its end; `ports` fixes those of some parts or of `control`, the others are free ones.

    Once entered it has `ca_file`, the URLs `authority`, `vault_url`, `graph_url`, `blob_url`, `management_url`,
    `identity_endpoint` and `control`, the header that goes with the identity endpoint, and the parts to look into and
    to change: `directory`, `entra`, `vault`, `graph`, `blob`, `management`, `people` (a synthetic tenant of so many
    `users`), `faults`. A further part is a name in PARTS, a URL and one `_open`.

    With a `domain`, a label and a dot stand before it in the URLs of the parts in LABELS, which then have no port:
    nothing resolves such names but a `ForwardProxy` that was given `names`.

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
        users: int = 20,
    ) -> None:
        self._folder = folder
        self._ports = ports
        self._now = now
        self._domain = domain
        self._users = users
        self._stack = ExitStack()
        self._background = Background(now)
        self._gates: dict[str, Gate] = {}
        self.faults: dict[str, Switch] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._background)
            ca = CertificateAuthority()
            self.ca_file = ca.write(self._folder)
            tls = ServerTls(ca, self._certified())
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

            self.directory = Directory(authority=self.authority, now=self._now)
            self.vault_url = self._url("vault")
            self.vault = KeyVault(
                authority=self.authority,
                tenant_id=TENANT_ID,
                authenticate=self.directory.authenticate,
                now=self._now,
            )
            self.graph_url = self._url("graph")
            self.blob_url = self._url("blob")
            self.blob = BlobStorage(
                authority=self.authority,
                tenant_id=TENANT_ID,
                authenticate=partial(self.directory.authenticate, audience=RESOURCE),
                now=self._now,
                containers=frozenset({CONTAINER}),
            )
            self.management_url = self._url("management")
            self.management = Management(self.directory)
            self.management.add_contributor(OPERATOR_PRINCIPAL_ID)
            seed(self.directory, self.vault, self.blob, graph_url=self.graph_url, management_url=self.management_url)
            (identity,) = self.directory.identities()
            self.identity_header = identity.header
            self.entra = Entra(self.directory)
            self._open("entra", self.entra.app)
            self._open("vault", self.vault.app)
            self._open("identity", ManagedIdentityEndpoint(self.directory).app)
            self.people = People(self._users)
            self.graph = Graph(self.people, self.directory, url=self.graph_url, tenant_id=TENANT_ID)
            self._open("graph", self.graph.app)
            self._open("blob", self.blob.app)
            self._open("management", self.management.app)

            control = Control(faults=self.faults, entra=self.entra)
            control_port = self._background.serve(control.app, port=self._ports.get("control", 0))
            self.control = f"http://{HOST}:{control_port}"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _url(self, label: str) -> str:
        return (
            f"https://{label}.{self._domain}"
            if self._domain
            else f"https://localhost:{self._gates[LABELS[label]].port}"
        )

    def _certified(self) -> tuple[str, ...]:
        """List the host names that the parts' certificate is for."""
        if not self._domain:
            return ("localhost", f"{REGION}.localhost")
        return (*(f"{label}.{self._domain}" for label in LABELS), f"*.login.{self._domain}")

    def _open(self, part: str, app: ASGIApp) -> None:
        behind = self._background.serve(HttpFaults(app, self.faults[part]))
        self._background.run(self._gates[part].open(behind))

    def _close(self, part: str) -> None:
        self._background.run(self._gates[part].close())
