"""Key Vault: reads certificates and has it sign. The private key stays there.

Rights that signing needs: certificates/read and keys/sign, and not secrets. A client secret and the key of an
exportable certificate need secrets/getSecret and secrets/readMetadata, on that one secret.
https://learn.microsoft.com/azure/key-vault/certificates/about-certificates
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from shared.adapters.http import Upstream
from shared.adapters.own_identity import SdkCredential
from shared.core.entra.certificate import Certificate, VersionSummary, read_certificate
from shared.core.entra.jws import Algorithm
from shared.core.errors import BadAnswer, OperatorError, Unavailable, UpstreamError
from shared.core.reply import json_object
from shared.core.retry import retry_after
from shared.core.token import Clock

if TYPE_CHECKING:
    from azure.core.async_paging import AsyncItemPaged
    from azure.keyvault.certificates import CertificateProperties
    from azure.keyvault.certificates.aio import CertificateClient
    from azure.keyvault.keys.crypto.aio import CryptographyClient
    from azure.keyvault.secrets import SecretProperties
    from azure.keyvault.secrets.aio import SecretClient

NAME = "Key Vault"
KEYS = 32
"""How many key versions of one vault have a client at once: more than profiles name certificates in one vault."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
RIGHTS = "the app's identity needs certificates/read and keys/sign in this vault, and no more"
SECRET_RIGHTS = "the app's identity needs secrets/getSecret and secrets/readMetadata on this one secret"
WITHOUT_RIGHTS = frozenset({"ForbiddenByRbac", "ForbiddenByPolicy", "AccessDenied"})
REMEDIES: Mapping[str, str] = {
    "ForbiddenByFirewall": "let the app through the vault's firewall: its subnet, or its outbound addresses",
    "ForbiddenByConnection": "the vault takes private connections alone: give the app a private endpoint and its DNS",
    "KeyDisabled": "enable this version of the certificate, or make a new one",
    "CertificateDisabled": "enable this version of the certificate, or make a new one",
    "CertificateNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "KeyNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "SecretDisabled": "enable this version of the secret, or make a new one",
    "SecretNotFound": "compare vault and name of the credential in vend.toml with the vault",
    "AKV10032": "the vault is of another tenant than the app's identity: use a vault in the tenant of that identity",
    "AKV10022": "compare cloud in vend.toml with the cloud of the vault",
}
"""By the code that the vault gives, or the number in its message: what the operator should do.

https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
"""
_AKV = re.compile(r"AKV1[0-9]{4}\b")
VERSIONS = 1_000
"""How many versions one certificate or secret may have: each flight orders them all."""
PAGES = 50
"""How many pages one list has: Key Vault puts 25 versions on a page."""
_VERSION = re.compile(r"[0-9a-f]{32}")
"""Key Vault's own form of a version; it is named in causes and events, so that no other text is taken for one."""


class _Named(Protocol):
    """A certificate, a secret, or the properties of one, as the SDK has them."""

    @property
    def name(self) -> str | None:
        """As the id in the answer has it."""


class _TokenRejected(OperatorError):
    """The vault has answered 401."""


class KeyVault:
    """One vault.

    Args:
        url: of the vault.
        credential: the app's own identity.
        upstream: sends the requests, to this vault alone.
        verify_challenge: whether the vault's challenge must name the vault's own domain; off for custom clouds alone.
        clock: both clocks.
    """

    def __init__(
        self, url: str, *, credential: SdkCredential, upstream: Upstream, verify_challenge: bool, clock: Clock
    ) -> None:
        self.url = url.rstrip("/")
        self._clock = clock
        self._upstream = upstream
        self._credential = credential
        # The caller is waiting, and the failure memory knows better when to ask again. A redirect is no answer.
        self._options: dict[str, Any] = {
            "verify_challenge_resource": verify_challenge,
            "retry_total": 0,
            "permit_redirects": False,
        }
        self._certificates: CertificateClient | None = None
        self._secrets: SecretClient | None = None
        self._key_client = lru_cache(KEYS)(self._new_key_client)  # versions that others have followed give way

    async def certificate_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a certificate.

        Raises:
            OperatorError: the vault refuses the app's identity, has no such certificate, or more than `VERSIONS` of it.
            Unavailable: the vault or the managed identity failed, throttled or could not be reached.
            BadAnswer: the answer cannot be read, is about something else, or has more than `PAGES` pages.
        """
        return await self._translated(lambda: self._versions(name))

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Return one version of a certificate, and the id of its key; errors as in `certificate_versions`."""
        found = await self._translated(lambda: self._certificate_client().get_certificate_version(name, version))
        _check_name(found, name)
        return read_certificate(bytes(found.cer or b""), name=f"{name}/{version}"), found.key_id or ""

    async def sign(self, certificate: Certificate, key_id: str, digest: bytes, algorithm: Algorithm) -> bytes:
        """Sign a SHA-256 digest by the key of a certificate; errors as in `certificate_versions`."""
        from azure.keyvault.keys.crypto import SignatureAlgorithm  # noqa: PLC0415  # late, as all of the SDK

        by = SignatureAlgorithm(algorithm)
        made = await self._translated(lambda: self._key_client(certificate, key_id).sign(by, digest))
        return made.signature

    async def secret_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a secret; errors as in `certificate_versions`."""
        return await self._translated(lambda: self._secrets_of(name), rights=SECRET_RIGHTS)

    async def secret(self, name: str, version: str) -> str:
        """Return what one version of a secret holds; errors as in `certificate_versions`."""
        found = await self._translated(lambda: self._secret_client().get_secret(name, version), rights=SECRET_RIGHTS)
        _check_name(found, name)
        return found.value or ""

    async def _secrets_of(self, name: str) -> list[VersionSummary]:
        return await _listed(self._secret_client().list_properties_of_secret_versions(name), name)

    async def _versions(self, name: str) -> list[VersionSummary]:
        return await _listed(self._certificate_client().list_properties_of_certificate_versions(name), name)

    async def _translated[T](self, work: Callable[[], Awaitable[T]], *, rights: str = RIGHTS) -> T:
        """Run a call of the SDK, once more with a newer token where the vault has rejected one that looked good."""
        try:
            return await self._tried(work, rights=rights)
        except _TokenRejected:
            self._credential.reject()
        return await self._tried(work, rights=rights)

    async def _tried[T](self, work: Callable[[], Awaitable[T]], *, rights: str) -> T:
        """Run a call of the SDK, and turn its errors into ours."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415

        try:
            return await work()
        except UpstreamError:
            raise
        except HttpResponseError as error:
            failure = self._failure(error.response, rights=rights)
        except Exception as error:  # noqa: BLE001  # the SDK raises plain exceptions for answers that it cannot use
            failure = BadAnswer(cause=f"{NAME}: {type(error).__name__}")
        # Outside of the except block, so that the error that holds request and answer is no part of this one.
        raise failure

    def _failure(self, answer: Any, *, rights: str) -> UpstreamError:  # noqa: ANN401  # of the SDK, which declares less
        """Return what an answer of the vault means, without its words: they name vault, identity and tenant."""
        if answer is None:
            return BadAnswer(cause=f"{NAME}: no answer")
        status, code = answer.status_code, _code(answer.content)
        if status < 300:
            return BadAnswer(cause=f"{NAME}: an answer that cannot be read")
        cause = f"{NAME}: HTTP {status}" + (f" {code}" if code else "")
        wait = retry_after(answer.headers.get("Retry-After"), now=self._clock().wall)
        if status in {408, 429} or status >= 500:
            return Unavailable(cause=cause, upstream_wait=wait)
        kind = _TokenRejected if status == 401 else OperatorError
        return kind(cause=cause, remedy=rights if code in WITHOUT_RIGHTS else REMEDIES.get(code))

    def _certificate_client(self) -> "CertificateClient":
        if self._certificates is None:
            from azure.keyvault.certificates.aio import CertificateClient  # noqa: PLC0415

            self._certificates = CertificateClient(self.url, **self._sdk())
        return self._certificates

    def _secret_client(self) -> "SecretClient":
        if self._secrets is None:
            from azure.keyvault.secrets.aio import SecretClient  # noqa: PLC0415

            self._secrets = SecretClient(self.url, **self._sdk())
        return self._secrets

    def _new_key_client(self, certificate: Certificate, key_id: str) -> "CryptographyClient":
        """Return a client of one version of a key.

        The client would ask the vault for the public key, which the certificate has: a request less, and a right less.
        """
        from azure.keyvault.keys import KeyVaultKey  # noqa: PLC0415
        from azure.keyvault.keys.crypto.aio import CryptographyClient  # noqa: PLC0415

        modulus, exponent = (number.to_bytes((number.bit_length() + 7) // 8) for number in certificate.public_numbers())
        key = KeyVaultKey(key_id, jwk={"kty": "RSA", "n": modulus, "e": exponent})
        return CryptographyClient(key, **self._sdk())

    def _sdk(self) -> dict[str, Any]:
        from shared.adapters.sdk_transport import SdkTransport  # noqa: PLC0415

        return {"credential": self._credential, "transport": SdkTransport(self._upstream), **self._options}


async def _listed(
    found: "AsyncItemPaged[CertificateProperties] | AsyncItemPaged[SecretProperties]", name: str
) -> list[VersionSummary]:
    """Read a list page by page; a version whose name has not the form of Key Vault's is skipped."""
    versions: list[VersionSummary] = []
    count = pages = 0
    async for page in found.by_page():
        pages += 1
        if pages > PAGES:
            raise BadAnswer(cause=f"{NAME}: a list of more than {PAGES} pages")
        async for each in page:
            count += 1
            if count > VERSIONS:
                remedy = "make a new certificate or secret under another name, and name it in vend.toml"
                raise OperatorError(cause=f"{NAME}: more than {VERSIONS} versions", remedy=remedy).about(name)
            _check_name(each, name)
            if _VERSION.fullmatch(each.version or ""):
                versions.append(_summary(each))
    return versions


def _check_name(found: "_Named", name: str) -> None:
    """Raise BadAnswer where an answer is about another certificate or secret; Key Vault's names ignore case."""
    if (found.name or "").lower() != name.lower():
        raise BadAnswer(cause=f"{NAME}: an answer about another certificate or secret")


def _summary(found: "CertificateProperties | SecretProperties") -> VersionSummary:
    return VersionSummary(
        version=found.version or "",
        enabled=found.enabled is True,
        created=found.created_on or _BEGINNING,
        not_before=found.not_before,
        not_after=found.expires_on,
    )


def _code(body: bytes) -> str:
    """Return the narrowest code of a refusal that has a remedy, or ""; nothing else of the answer gets out."""
    error = (json_object(body) or {}).get("error")
    found = ""
    message = error.get("message") if isinstance(error, dict) else None
    if isinstance(message, str) and (number := _AKV.search(message)):
        found = number[0] if number[0] in REMEDIES else ""
    while isinstance(error, dict):
        code = error.get("code")
        found = code if isinstance(code, str) and (code in REMEDIES or code in WITHOUT_RIGHTS) else found
        error = error.get("innererror") or error.get("innerError")
    return found
