"""The local cloud: its parts composed, each behind a gate that can fail, for `make run` and for anyone's tests.

with LocalCloud(folder) as cloud:
    requests.get(f"{cloud.authority}/...", verify=cloud.ca_file)
    cloud.faults["entra"].set(Fault(kind=Kind.STATUS, status=503))
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from emulator import managed_identity
from emulator.ca import CertificateAuthority
from emulator.control import Control
from emulator.directory import Directory
from emulator.entra import Entra
from emulator.faults import HttpFaults, Switch
from emulator.gate import Gate
from emulator.managed_identity import ManagedIdentityEndpoint
from emulator.seed import TENANT_ID, seed
from emulator.serve import HOST, Background
from emulator.vault import KeyVault

TLS_PARTS = ("entra", "vault")
PLAIN_PARTS = ("identity",)  # as on App Service, where it never leaves the machine


class LocalCloud(AbstractContextManager["LocalCloud"]):
    """Runs from `with` to its end; `ports` fixes those of some parts or of `control`, the others are free ones.

    Raises:
        OSError: a port is taken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] = MappingProxyType({}),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._ports = ports
        self._now = now
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            background = self._background = stack.enter_context(Background())
            ca = CertificateAuthority(self._folder)
            self.ca_file = ca.file
            tls = ca.issue().context()
            self.faults = {part: Switch(background.run) for part in (*TLS_PARTS, *PLAIN_PARTS)}
            # Every port is known before any part starts: tokens and challenges name each other's addresses.
            gates: dict[str, Gate] = {}
            for part, switch in self.faults.items():
                context = tls if part in TLS_PARTS else None
                gate = gates[part] = Gate(switch, tls=context, port=self._ports.get(part, 0))
                stack.callback(_closer(background, gate))

            self.authority = f"https://localhost:{gates['entra'].port}"
            self.identity_endpoint = f"http://{HOST}:{gates['identity'].port}{managed_identity.PATH}"
            self.directory = Directory(authority=self.authority, now=self._now)
            self.vault_url = f"https://localhost:{gates['vault'].port}"
            self.vault = KeyVault(
                authority=self.authority,
                tenant_id=TENANT_ID,
                authenticate=self.directory.authenticate,
                now=self._now,
            )
            seed(self.directory, self.vault)
            (identity,) = self.directory.identities()
            self.identity_header = identity.header
            self.entra = Entra(self.directory)

            apps = (
                ("entra", self.entra.app),
                ("vault", self.vault.app),
                ("identity", ManagedIdentityEndpoint(self.directory).app),
            )
            for part, app in apps:
                behind = background.serve(HttpFaults(app, self.faults[part]))
                background.run(gates[part].open(behind))
            control = Control(faults=self.faults, entra=self.entra)
            self.control = f"http://{HOST}:{background.serve(control.app, port=self._ports.get('control', 0))}"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _closer(background: Background, gate: Gate) -> Callable[[], None]:
    return lambda: background.run(gate.close())
