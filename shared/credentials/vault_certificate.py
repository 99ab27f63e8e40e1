"""The credential `type = "certificate"`: a certificate in Key Vault, of which each usable version is a link."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from shared.core.entra.certificate import Certificate, VersionSummary
from shared.core.errors import OperatorError
from shared.core.limits import Limits
from shared.credentials.certificate_link import CertificateLink, LinkFacts
from shared.system import System


class Vault(Protocol):
    """What this credential needs of Key Vault; it raises the errors of `Link.proof`."""

    @property
    def url(self) -> str:
        """Of the vault, without a slash at its end."""

    async def certificate_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a certificate."""

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Return one version of a certificate, and the id of its key."""

    async def sign(self, key_id: str, digest: bytes) -> bytes:
        """Return a PS256 signature of a SHA-256 digest."""


class VaultSigner:
    """Signs inside the vault: the private key never leaves it."""

    def __init__(self, vault: Vault, *, name: str, version: str) -> None:
        self._vault = vault
        self._name = name
        self._version = version
        self._read: tuple[Certificate, str] | None = None  # a version never changes

    async def certificate(self) -> Certificate:
        """Return the certificate; errors as in `Link.proof`."""
        return (await self._facts())[0]

    async def sign(self, content: bytes) -> bytes:
        """Return a PS256 signature; errors as in `Link.proof`."""
        _, key_id = await self._facts()
        return await self._vault.sign(key_id, hashlib.sha256(content).digest())

    async def _facts(self) -> tuple[Certificate, str]:
        if self._read is None:
            self._read = await self._vault.certificate(self._name, self._version)
        return self._read


class VaultCertificate:
    """A certificate in Key Vault.

    Args:
        vault: the vault.
        name: of the certificate.
        client_id: of the app registration.
        send_x5c: as in `CertificateLink`.
        limits: the knobs.
        system: clocks and ids.
    """

    def __init__(
        self, *, vault: Vault, name: str, client_id: str, send_x5c: bool, limits: Limits, system: System
    ) -> None:
        self._vault = vault
        self._name = name
        self._client_id = client_id
        self._send_x5c = send_x5c
        self._limits = limits
        self._system = system
        self._links: dict[str, tuple[VersionSummary, CertificateLink]] = {}
        self._read_at = 0.0

    @property
    def links(self) -> Sequence[CertificateLink]:
        """The versions that are enabled and within their dates."""
        now = datetime.fromtimestamp(self._system.clock.wall(), UTC)
        return [link for summary, link in self._links.values() if summary.is_usable(now)]

    @property
    def is_old(self) -> bool:
        """Whether the last reading is longer ago than `vault_reread_seconds`."""
        return self._system.clock.boot() - self._read_at >= self._limits.vault_reread_seconds

    async def read(self) -> None:
        """Read which versions there are; errors as in `Credential`."""
        versions = await self._vault.certificate_versions(self._name)
        self._links = {found.version: (found, self._link(found)) for found in versions if found.enabled}
        self._read_at = self._system.clock.boot()
        if not self.links:
            raise OperatorError(
                cause=f"{self._name}: no version of the certificate is enabled and within its dates",
                remedy="make a new version and register it: docs/credentials.md",
            )

    def _link(self, found: VersionSummary) -> CertificateLink:
        """Return the link of a version: the one that is known, with its assertions, or a new one."""
        if found.version in self._links:
            return self._links[found.version][1]
        return CertificateLink(
            LinkFacts(f"{self._vault.url}/certificates/{self._name}/{found.version}", found.created, found.not_after),
            signer=VaultSigner(self._vault, name=self._name, version=found.version),
            client_id=self._client_id,
            send_x5c=self._send_x5c,
            limits=self._limits,
            system=self._system,
        )
