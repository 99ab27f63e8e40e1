"""Signs inside Key Vault: the private key never leaves it."""

import hashlib
from typing import Protocol

from shared.core.entra.certificate import Certificate
from shared.core.entra.jws import Algorithm


class Vault(Protocol):
    """The call of Key Vault that signs; it raises the errors of `Link.proof`."""

    async def certificate(self, name: str, version: str) -> tuple[Certificate, str]:
        """Return one version of a certificate, and the id of its key."""

    async def sign(self, key_id: str, digest: bytes, algorithm: Algorithm) -> bytes:
        """Return a signature of a SHA-256 digest by a key."""


class VaultSigner:
    """Signs with the key of one version of a certificate.

    Args:
        vault: the vault.
        name: of the certificate.
        version: of the certificate; what it holds never changes.
    """

    def __init__(self, vault: Vault, *, name: str, version: str) -> None:
        self._vault = vault
        self._name = name
        self._version = version
        self._facts: tuple[Certificate, str] | None = None

    async def certificate(self) -> Certificate:
        """Return the certificate; errors as in `Link.proof`."""
        return (await self._read())[0]

    async def sign(self, content: bytes, algorithm: Algorithm = Algorithm.PS256) -> bytes:
        """Return a signature; errors as in `Link.proof`."""
        _, key_id = await self._read()
        return await self._vault.sign(key_id, hashlib.sha256(content).digest(), algorithm)

    async def _read(self) -> tuple[Certificate, str]:
        if self._facts is None:
            self._facts = await self._vault.certificate(self._name, self._version)
        return self._facts
