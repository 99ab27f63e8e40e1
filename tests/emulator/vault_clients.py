"""A local vault on a real socket, and the stock Azure clients of any principal for it."""

import gc
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from azure.core.credentials import AccessToken
from azure.keyvault.certificates import CertificateClient
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from azure.keyvault.secrets import SecretClient

from emulator.network.ca import CertificateAuthority
from emulator.network.serve import Background
from emulator.vault.app import KeyVault

AUTHORITY = "https://login.localhost"
TENANT = "11111111-1111-1111-1111-111111111111"
ADMIN = "the-administrator"
START = 1_800_000_000.0


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


class PrincipalCredential:
    """A credential whose token says who the principal is, in plain text."""

    def __init__(self, principal: str) -> None:
        self._principal = principal

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:  # noqa: ANN401 - the SDK's own signature
        """Give the SDK a bearer token."""
        return AccessToken(f"token-of-{self._principal}", int(time.time()) + 3600)


def principal_of(bearer: str) -> str | None:
    """Check a bearer token as the vault's `authenticate` does."""
    prefix, _, name = bearer.partition("token-of-")
    return None if prefix or name in {"", "nobody"} else name


class VaultClients:
    """The clients of one served vault; closed with it."""

    def __init__(self, vault: KeyVault, *, port: int, ca_file: Path, clock: Clock, stack: ExitStack) -> None:
        self.vault = vault
        self.clock = clock
        self.url = f"https://localhost:{port}"
        self._ca_file = ca_file
        self._stack = stack

    def certificates(self, principal: str = ADMIN) -> CertificateClient:
        """Open the stock client for certificates."""
        client = CertificateClient(self.url, PrincipalCredential(principal), **self._options())
        return self._stack.enter_context(client)

    def keys(self, principal: str = ADMIN) -> KeyClient:
        """Open the stock client for keys."""
        return self._stack.enter_context(KeyClient(self.url, PrincipalCredential(principal), **self._options()))

    def secrets(self, principal: str = ADMIN) -> SecretClient:
        """Open the stock client for secrets."""
        return self._stack.enter_context(SecretClient(self.url, PrincipalCredential(principal), **self._options()))

    def cryptography(self, name: str, version: str | None = None, *, principal: str = ADMIN) -> CryptographyClient:
        """Open the stock client that signs with one key."""
        key_id = "/".join(filter(None, [self.url, "keys", name, version]))
        client = CryptographyClient(key_id, PrincipalCredential(principal), **self._options())
        return self._stack.enter_context(client)

    def http(self, principal: str | None = ADMIN) -> httpx.Client:
        """Open a plain client, for what the stock clients never send."""
        headers = {"Authorization": f"Bearer token-of-{principal}"} if principal else {}
        context = ssl.create_default_context(cafile=self._ca_file)
        client = httpx.Client(
            base_url=self.url, params={"api-version": "7.6"}, headers=headers, verify=context, trust_env=False
        )
        return self._stack.enter_context(client)

    def _options(self) -> dict[str, Any]:
        return {
            "verify_challenge_resource": False,
            "connection_verify": str(self._ca_file),
            "use_env_settings": False,
            "retry_total": 0,
        }


class VaultHost:
    """Serves any number of vaults, each on its own port."""

    def __init__(self, background: Background, *, ca_file: Path, tls: ssl.SSLContext) -> None:
        self._background = background
        self._ca_file = ca_file
        self._tls = tls

    @contextmanager
    def vault(self) -> Iterator[VaultClients]:
        """Serve an empty vault with one administrator, and close its clients at the end."""
        clock = Clock()
        vault = KeyVault(authority=AUTHORITY, tenant_id=TENANT, authenticate=principal_of, now=clock)
        vault.assign(ADMIN, "Key Vault Administrator")
        port = self._background.serve(vault.app, tls=self._tls)
        with ExitStack() as stack:
            yield VaultClients(vault, port=port, ca_file=self._ca_file, clock=clock, stack=stack)


@contextmanager
def vault_host(folder: Path) -> Iterator[VaultHost]:
    """Start a host with its own certificate authority."""
    authority = CertificateAuthority()
    with Background() as background:
        yield VaultHost(background, ca_file=authority.write(folder), tls=authority.server_context("localhost"))
        # urllib3 closes a connection when nothing refers to its pool, and every error of an SDK does, in a cycle: the
        # server would wait for it in vain.
        gc.collect()
