"""Gets tokens from Entra: proves who we are, asks, and reads the answer."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shared.core.entra.certificate import CertificateVersion
from shared.core.entra.claims import claims_to_send
from shared.core.entra.token_answer import (
    ASSERTION_REUSE,
    Cloud,
    clock_difference,
    read_token,
    refusal,
    signed_assertion,
    token_request,
    unsigned_assertion,
)
from shared.core.errors import RegionRefused, VendError
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.retry import pause
from shared.core.token import AccessToken, Moment, TokenKey
from shared.single_flight import Flights
from shared.telemetry.events import Events

CLOCK_TOLERANCE = 120
"""Seconds that our wall clock and Entra's may differ before it is told; assertions fail beyond some five minutes."""


class Vault(Protocol):
    """What a vault does for us; errors are those of `VaultCertificate.assertion`."""

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Read the version of a certificate that is to sign now."""

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Sign a SHA-256 digest with PS256."""


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

    What it keeps, per worker process: the facts of the certificate for `vault_reread_seconds`, and for each audience,
    of which there is one per tenant, one assertion for 9 of its 10 minutes.
    """

    def __init__(
        self,
        *,
        vault: Vault,
        name: str,
        client_id: str,
        clock: Callable[[], Moment],
        new_id: Callable[[], str],
        limits: Limits,
    ) -> None:
        self._vault = vault
        self._name = name
        self._client_id = client_id
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._certificate: tuple[CertificateVersion, float] | None = None
        self._assertions: dict[str, _Assertion] = {}
        self._readings: Flights[str, CertificateVersion] = Flights()
        self._signings: Flights[str, _Assertion] = Flights()

    @property
    def version(self) -> str:
        """Name what an assertion would be signed with now; "" before the certificate was read."""
        return self._certificate[0].thumbprint if self._certificate else ""

    @property
    def not_after(self) -> datetime | None:
        """When the certificate that signs ends; None before it was read."""
        return self._certificate[0].not_after if self._certificate else None

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
        self._assertions.pop(audience, None)
        self._assertions[audience] = made
        if len(self._assertions) > self._limits.cache_entries:
            del self._assertions[next(iter(self._assertions))]
        return made

    async def _current(self) -> CertificateVersion:
        if self._certificate is not None:
            certificate, read = self._certificate
            now = self._clock()
            if now.boot - read < self._limits.vault_reread_seconds and now.wall < certificate.not_after.timestamp():
                return certificate
        return await self._readings.join(self._name, self._read)

    async def _read(self) -> CertificateVersion:
        certificate = await self._vault.signing_certificate(self._name)
        self._certificate = (certificate, self._clock().boot)
        return certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An app registration, as one profile uses it.

    Args:
        client_id: of the registration.
        credential: what it proves itself with.
        region: whose endpoint is asked first; "" for the global one alone.
        capabilities: what it tells Entra that it can handle, such as `cp1`.
    """

    client_id: str
    credential: VaultCertificate
    region: str = ""
    capabilities: tuple[str, ...] = ()


class Entra:
    """Acquires tokens for the profiles of one cloud.

    Args:
        cloud: where Entra is.
        clients: by profile.
        post: sends a form.
        limits: the knobs.
        clock: both clocks.
        sleep: waits for some seconds.
        draw: from 0 to 1; chooses how much of a token's life is left when it is to be refreshed.
        new_id: makes request ids, by which Microsoft's support finds a request.
        events: where oddities of an answer are told that are no reason to refuse it.
    """

    def __init__(
        self,
        *,
        cloud: Cloud,
        clients: Mapping[str, Client],
        post: Post,
        limits: Limits,
        clock: Callable[[], Moment],
        sleep: Callable[[float], Awaitable[None]],
        draw: Callable[[], float],
        new_id: Callable[[], str],
        events: Events,
    ) -> None:
        self._cloud = cloud
        self._clients = clients
        self._post = post
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._new_id = new_id
        self._events = events
        self._no_region: set[str] = set()  # profiles that Entra refuses to serve regionally
        self._audiences: dict[tuple[str, str], str] = {}  # by profile and scope, of which configuration has few

    def version(self, key: TokenKey) -> str:
        """Name the credential that a request for this key would be made with now."""
        return self._clients[key.profile].credential.version

    async def acquire(self, key: TokenKey, claims: str | None) -> AccessToken:
        """Get a token from Entra; what may pass within a second is tried once more.

        Args:
            key: whose.
            claims: of a challenge, in canonical form.

        Raises:
            UpstreamError: with what it means for the caller.
            Denied: Entra does not give this scope to this client.
        """
        client = self._clients[key.profile]
        region = "" if key.profile in self._no_region else client.region
        attempt = 1
        while True:
            try:
                token = await self._attempt(key, client, region, claims)
            except RegionRefused as error:
                if not region:
                    raise
                self._no_region.add(key.profile)
                self._events.defer("region_refused", profile=key.profile, region=region, cause=error.cause)
            except VendError as error:
                wait = pause(error, attempt=attempt, limits=self._limits)
                if wait is None:
                    raise
                attempt += 1
                await self._sleep(wait)
            else:
                self._tell(key, token)
                return token
            region = ""  # one bad answer is enough to ask where everybody asks

    async def _attempt(self, key: TokenKey, client: Client, region: str, claims: str | None) -> AccessToken:
        form = token_request(
            client_id=client.client_id,
            scope=key.scope,
            assertion=await client.credential.assertion(audience=self._cloud.token_endpoint(key.tenant_id)),
            claims=claims_to_send(claims, client.capabilities),
        )
        asked = self._clock()
        endpoint = self._cloud.token_endpoint(key.tenant_id, region=region)
        reply = await self._post(endpoint, form, headers={"client-request-id": self._new_id()})
        now = self._clock()
        ahead = clock_difference(reply.headers, now=now.wall)
        if ahead is not None and abs(ahead) > CLOCK_TOLERANCE:
            self._events.defer("clock_differs", profile=key.profile, seconds=round(ahead))
        if reply.status != 200:
            raise refusal(reply.status, reply.headers, reply.body, now=now.wall)
        knobs = self._limits
        return read_token(
            reply.body,
            asked=asked,
            fraction=knobs.refresh_fraction_min
            + self._draw() * (knobs.refresh_fraction_max - knobs.refresh_fraction_min),
            tenant_id=key.tenant_id,
            client_id=client.client_id,
        )

    def _tell(self, key: TokenKey, token: AccessToken) -> None:
        """Report what is odd about a token that is vended all the same."""
        said = token.said
        about = {"profile": key.profile, "tenant_id": key.tenant_id, "scope": key.scope, "token": token.fingerprint}
        if said.has_roles is False:
            self._events.defer("token_without_roles", cause="consent missing?", **about)
        if said.scope is not None and said.scope != key.scope:
            self._events.defer("scope_differs", cause="the answer names another scope", **about)
        if said.audience is not None:
            before = self._audiences.setdefault((key.profile, key.scope), said.audience)
            if before != said.audience:
                self._audiences[key.profile, key.scope] = said.audience
                self._events.defer("audience_changed", audience=said.audience, **about)
