"""The credential `type = "certificate"`: a certificate in Key Vault, of which each usable version is a link."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from shared.core.entra.certificate import VersionSummary
from shared.core.limits import Limits
from shared.credentials.certificate_link import CertificateLink, LinkFacts, Signer
from shared.credentials.vault_versions import VaultVersions
from shared.system import System


class Certificates(Protocol):
    """The calls of Key Vault that this credential makes; they raise the errors of `Credential.read`."""

    @property
    def url(self) -> str:
        """Of the vault, without a slash at its end."""

    async def certificate_versions(self, name: str) -> Sequence[VersionSummary]:
        """List the versions of a certificate."""


def vault_certificate(
    vault: Certificates,
    *,
    name: str,
    signer: Callable[[str], Signer],
    client_id: str,
    send_x5c: bool = False,
    limits: Limits,
    system: System,
) -> VaultVersions[CertificateLink]:
    """Return the credential of a certificate in Key Vault.

    Args:
        vault: the vault.
        name: of the certificate.
        signer: returns what signs with the key of a version.
        client_id, send_x5c, limits, system: as in `CertificateLink`.
    """

    def link(identifier: str, version: VersionSummary) -> CertificateLink:
        return CertificateLink(
            LinkFacts(identifier, version.created, version.not_after),
            signer=signer(version.version),
            client_id=client_id,
            send_x5c=send_x5c,
            limits=limits,
            system=system,
        )

    return VaultVersions(
        f"{vault.url}/certificates/{name}",
        listing=partial(vault.certificate_versions, name),
        link=link,
        limits=limits,
        clock=system.clock,
    )
