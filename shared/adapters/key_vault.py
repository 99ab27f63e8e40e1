"""Key Vault: reads certificates and has it sign. The private key stays there.

Rights that this needs: certificates/read, keys/read and keys/sign, and not secrets.
https://learn.microsoft.com/azure/key-vault/certificates/about-certificates
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from shared.core.entra.certificate import CertificateVersion, VersionSummary, preferred, read_certificate
from shared.core.errors import OperatorError, Unavailable, VendError
from shared.core.retry import retry_after

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.exceptions import AzureError
    from azure.keyvault.certificates import CertificateProperties

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How every vault is reached.

    Args:
        ca_bundle: path of the roots to trust, or None for the SDK's own.
        proxy: URL, or "".
        verify_challenge: whether the vault's challenge must name the vault's own domain; off for custom clouds alone.
        connect_seconds, read_seconds: for one connection, and for one read of its socket.
    """

    ca_bundle: str | None
    proxy: str
    verify_challenge: bool
    connect_seconds: float
    read_seconds: float


def write_ca_bundle(roots: str) -> str:
    """Write the one file of roots that the Azure SDKs take, and return its path: their own, and others in PEM."""
    import certifi  # noqa: PLC0415  # for private clouds and TLS-inspecting proxies alone

    with NamedTemporaryFile("w", prefix="vend-roots-", suffix=".pem", delete=False) as bundle:
        bundle.write(certifi.contents() + "\n" + roots)
    return bundle.name


class KeyVault:
    """One vault.

    Args:
        url: of the vault.
        credential: the app's own identity; its errors are ours already.
        pool: where the SDK's blocking calls run.
        connection: how the vault is reached.
        wall: seconds since the epoch.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: "TokenCredential",
        pool: Executor,
        connection: Connection,
        wall: Callable[[], float],
    ) -> None:
        self._url = url
        self._credential = credential
        self._pool = pool
        self._wall = wall
        self._options: dict[str, Any] = {
            "verify_challenge_resource": connection.verify_challenge,
            "connection_verify": connection.ca_bundle or True,
            "connection_timeout": connection.connect_seconds,
            "read_timeout": connection.read_seconds,
            "use_env_settings": False,
            # The caller is waiting, and the failure memory knows better when to ask again.
            "retry_total": 0,
        }
        if connection.proxy:
            self._options["proxies"] = {"https": connection.proxy}

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Read the version of a certificate that is to sign now.

        Raises:
            OperatorError: the vault refuses the app's identity, or has no such certificate that is usable.
            Unavailable: the vault or the managed identity failed, throttled or could not be reached.
        """
        return await self._call(self._signing_certificate, name)

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Sign a SHA-256 digest with PS256 by one version of a key; errors as in `signing_certificate`."""
        return await self._call(self._sign, key_id, digest)

    async def _call[*A, T](self, work: Callable[[*A], T], *args: *A) -> T:
        from azure.core.exceptions import AzureError  # noqa: PLC0415  # late, as all of the SDK

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except AzureError as error:
            failure = _meaning(error, now=self._wall())
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure

    def _signing_certificate(self, name: str) -> CertificateVersion:
        from azure.keyvault.certificates import CertificateClient  # noqa: PLC0415

        with CertificateClient(self._url, self._credential, **self._options) as client:
            versions = [_summary(found) for found in client.list_properties_of_certificate_versions(name)]
            version = preferred(versions, datetime.fromtimestamp(self._wall(), UTC)).version
            found = client.get_certificate_version(name, version)
        return read_certificate(bytes(found.cer or b""), version=version, key_id=found.key_id or "")

    def _sign(self, key_id: str, digest: bytes) -> bytes:
        from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm  # noqa: PLC0415

        with CryptographyClient(key_id, self._credential, **self._options) as client:
            return client.sign(SignatureAlgorithm.ps256, digest).signature


def _summary(found: "CertificateProperties") -> VersionSummary:
    return VersionSummary(
        version=found.version or "",
        enabled=found.enabled is True,
        created=found.created_on or _BEGINNING,
        not_before=found.not_before,
        not_after=found.expires_on,
    )


def _meaning(error: "AzureError", *, now: float) -> VendError:
    """Say what an error of the SDK means, without its words: they name vault, identity and tenant."""
    from azure.core.exceptions import HttpResponseError, ServiceRequestError  # noqa: PLC0415

    answer = error.response if isinstance(error, HttpResponseError) else None
    # Of any transport; the type that the SDK declares leaves the headers out.
    headers: Mapping[str, str] = getattr(answer, "headers", {})
    wait = retry_after(headers.get("Retry-After"), now=now)
    status = answer.status_code if answer is not None else None
    if status is not None and (status in {408, 429} or status >= 500):
        return Unavailable(cause=f"the vault answered {status}", upstream_wait=wait)
    if status == 404:
        return OperatorError(cause="the vault has no such certificate")
    if status == 403:
        return OperatorError(
            cause="the vault refuses the app's identity: it needs certificates/read, keys/read, keys/sign"
        )
    if status is not None:
        return OperatorError(cause=f"the vault refused with {status}")
    if isinstance(error, ServiceRequestError):
        return Unavailable(cause="the vault cannot be reached")
    return Unavailable(cause="the connection to the vault broke")
