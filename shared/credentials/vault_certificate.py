"""The credential `type = "certificate"` with `signing = "vault"`: the private key never leaves Key Vault."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.core.entra.assertion import ASSERTION_REUSE, assertion_fields, signed_assertion, unsigned_assertion
from shared.core.entra.certificate import CertificateVersion
from shared.core.limits import Limits
from shared.core.token import Moment
from shared.credentials.credential import Proof
from shared.single_flight import Flights
from shared.system import System


class Vault(Protocol):
    """What this credential needs of Key Vault; it raises the errors of `Credential.proof`."""

    async def signing_certificate(self, name: str) -> CertificateVersion:
        """Return the version of a certificate that signs now."""

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Return a PS256 signature of a SHA-256 digest."""


@dataclass(frozen=True, slots=True)
class _Assertion:
    proof: Proof
    until: Moment


class VaultCertificate:
    """A certificate whose key signs inside the vault.

    Cached per worker process: the facts of the certificate for `vault_reread_seconds`; and for each audience, one per
    tenant, one assertion for 9 of its 10 minutes.
    """

    def __init__(self, *, vault: Vault, name: str, client_id: str, limits: Limits, system: System) -> None:
        self._vault = vault
        self._name = name
        self._client_id = client_id
        self._limits = limits
        self._clock = system.clock
        self._new_id = system.new_id
        self._certificate: tuple[CertificateVersion, float] | None = None
        self._assertions: dict[str, _Assertion] = {}
        self._readings: Flights[str, CertificateVersion] = Flights(seconds=limits.caller_budget_seconds)
        self._signings: Flights[str, _Assertion] = Flights(seconds=limits.caller_budget_seconds)

    @property
    def version(self) -> str:
        """The thumbprint of the certificate that signs now; "" before it was read."""
        return self._certificate[0].thumbprint if self._certificate else ""

    @property
    def not_after(self) -> datetime | None:
        """When the certificate that signs now ends; None before it was read."""
        return self._certificate[0].not_after if self._certificate else None

    async def proof(self, audience: str, claims: str | None) -> Proof:  # noqa: ARG002  # no identity provider is asked
        """Return a client assertion for a token endpoint; errors as in `Credential`."""
        cached = self._assertions.get(audience)
        now = self._clock()
        if cached is not None and now.wall < cached.until.wall and now.boot < cached.until.boot:
            return cached.proof
        return (await self._signings.join(audience, lambda: self._sign(audience))).proof

    def refused(self, proof: Proof) -> None:
        """Drop the assertion, so that it is not sent again."""
        self._assertions = {audience: made for audience, made in self._assertions.items() if made.proof != proof}

    async def _sign(self, audience: str) -> _Assertion:
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
        fields = assertion_fields(signed_assertion(unsigned, signature))
        reuse = ASSERTION_REUSE.total_seconds()
        made = _Assertion(
            Proof(fields, certificate.thumbprint), until=Moment(wall=now.wall + reuse, boot=now.boot + reuse)
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
