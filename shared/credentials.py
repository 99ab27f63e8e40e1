"""Gets tokens from Entra: proves who we are, asks, and reads the answer."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.core.certificate import CertificateVersion
from shared.core.entra import (
    ASSERTION_REUSE,
    Cloud,
    read_token,
    refusal,
    signed_assertion,
    token_request,
    unsigned_assertion,
)
from shared.core.token import AccessToken, Moment, TokenKey
from shared.flights import Flights


class Vault(Protocol):
    """What a vault does for us; errors are those of `VaultCertificate.assertion`."""

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Read the version of a certificate that is to sign now."""

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Sign a SHA-256 digest with PS256."""


class Reply(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int:
        """Of the answer."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case."""

    @property
    def body(self) -> bytes:
        """Within the size limit."""


class Post(Protocol):
    """Sends a form to Entra."""

    def __call__(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Awaitable[Reply]:
        """Send it; raise an `UpstreamError` where no answer comes."""


@dataclass(frozen=True, slots=True)
class _Assertion:
    text: str = field(repr=False)
    until: Moment


class VaultCertificate:
    """A certificate whose key signs inside the vault.

    What it keeps, per worker process: the facts of the certificate for `reread_seconds`, and for each audience one
    assertion for 9 of its 10 minutes.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        name: str,
        client_id: str,
        clock: Callable[[], Moment],
        new_id: Callable[[], str],
        reread_seconds: float,
    ) -> None:
        self._vault = vault
        self._name = name
        self._client_id = client_id
        self._clock = clock
        self._new_id = new_id
        self._reread_seconds = reread_seconds
        self._certificate: tuple[CertificateVersion, float] | None = None
        self._assertions: dict[str, _Assertion] = {}  # one per tenant of the profile
        self._readings: Flights[str, CertificateVersion] = Flights()
        self._signings: Flights[str, _Assertion] = Flights()

    async def assertion(self, audience: str) -> str:
        """Give a client assertion for a token endpoint.

        Raises:
            OperatorError: the vault refuses, or has no usable certificate.
            Unavailable: the vault cannot be had now.
        """
        kept = self._assertions.get(audience)
        now = self._clock()
        if kept is not None and now.wall < kept.until.wall and now.boot < kept.until.boot:
            return kept.text
        return (await self._signings.join(audience, lambda: self._signed(audience))).text

    async def _signed(self, audience: str) -> _Assertion:
        certificate = await self._current()
        now = self._clock()
        unsigned = unsigned_assertion(
            client_id=self._client_id,
            audience=audience,
            thumbprint=certificate.thumbprint,
            jti=self._new_id(),
            now=now.wall,
        )
        signature = await self._vault.sign(certificate.key_id, hashlib.sha256(unsigned).digest())
        reuse = ASSERTION_REUSE.total_seconds()
        made = _Assertion(
            text=signed_assertion(unsigned, signature),
            until=Moment(wall=now.wall + reuse, boot=now.boot + reuse),
        )
        self._assertions[audience] = made
        return made

    async def _current(self) -> CertificateVersion:
        if self._certificate is not None:
            certificate, read = self._certificate
            now = self._clock()
            if now.boot - read < self._reread_seconds and now.wall < certificate.not_after.timestamp():
                return certificate
        return await self._readings.join(self._name, self._read)

    async def _read(self) -> CertificateVersion:
        certificate = await self._vault.signing_certificate(self._name)
        self._certificate = (certificate, self._clock().boot)
        return certificate


class Entra:
    """Acquires tokens for the profiles of one cloud.

    Args:
        cloud: where Entra is.
        clients: by profile: its client id, and what it proves itself with.
        post: sends a form.
        clock: both clocks.
        fraction: draws how much of a token's life is left when it is to be refreshed.
        new_id: makes request ids, by which Microsoft's support finds a request.
    """

    def __init__(
        self,
        *,
        cloud: Cloud,
        clients: Mapping[str, tuple[str, VaultCertificate]],
        post: Post,
        clock: Callable[[], Moment],
        fraction: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._cloud = cloud
        self._clients = clients
        self._post = post
        self._clock = clock
        self._fraction = fraction
        self._new_id = new_id

    async def acquire(self, key: TokenKey) -> AccessToken:
        """Get a token from Entra, in one attempt.

        Raises:
            UpstreamError: with what it means for the caller.
            Denied: Entra does not give this scope to this client.
        """
        client_id, credential = self._clients[key.profile]
        endpoint = self._cloud.token_endpoint(key.tenant_id)
        form = token_request(
            client_id=client_id, scope=key.scope, assertion=await credential.assertion(audience=endpoint)
        )
        asked = self._clock()
        reply = await self._post(endpoint, form, headers={"client-request-id": self._new_id()})
        if reply.status != 200:
            raise refusal(reply.status, reply.headers, reply.body, now=self._clock().wall)
        return read_token(
            reply.body, asked=asked, fraction=self._fraction(), tenant_id=key.tenant_id, client_id=client_id
        )
