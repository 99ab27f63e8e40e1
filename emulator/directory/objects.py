"""The objects of a directory, as immutable values.

Their ids and their relations are those of Microsoft Graph, so that a service which shows them is a view of the store:
https://learn.microsoft.com/graph/api/resources/serviceprincipal, .../application, .../approleassignment
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from cryptography import x509

from emulator.directory.certificate import RegisteredCertificate


@dataclass(frozen=True)
class Tenant:
    """One Entra tenant, addressed by its GUID or its domain; refusals name it by its display name."""

    id: str
    domain: str
    display_name: str = "Contoso"

    @property
    def v1_issuer(self) -> str:
        """The `iss` of v1.0 tokens: a name, the same whichever host issued them."""
        return f"https://sts.windows.net/{self.id}/"


@dataclass(frozen=True)
class ClientSecret:
    """A password of an application; its dates are in epoch seconds."""

    value: str = field(repr=False)
    not_before: float
    not_after: float

    def equals(self, presented: str) -> bool:
        """Compare in a time that does not depend on how much is right."""
        return hmac.compare_digest(self.value.encode(), presented.encode())


@dataclass(frozen=True)
class KeyCredential:
    """A registered certificate; Entra knows it from `spread` (epoch seconds)."""

    certificate: RegisteredCertificate
    spread: float


@dataclass(frozen=True)
class FederatedCredential:
    """Whose tokens an application may present as client assertions; Entra knows it from `spread` (epoch seconds).

    Every comparison is case-sensitive: https://learn.microsoft.com/entra/workload-id/workload-identity-federation
    """

    name: str
    issuer: str
    subject: str
    audience: str
    spread: float


@dataclass(frozen=True)
class TrustedSubject:
    """A subject whose certificates Entra takes unregistered, as `trustedCertificateSubjects` of a manifest names it.

    Args:
        name: the subject, as RFC 4514 writes it.
        authority: has issued the certificate, or the last of those that are sent with it.
        revoked: `revokedCertificateIdentifiers`, thumbprints as `RegisteredCertificate.thumbprint` has them.
    """

    name: str
    authority: x509.Certificate
    revoked: frozenset[str] = frozenset()


@dataclass(frozen=True)
class KeyPolicy:
    """What an app-management policy of the tenant demands of new certificates; None demands nothing.

    Source: https://learn.microsoft.com/graph/api/resources/keycredentialconfiguration

    Args:
        longest_life: `asymmetricKeyLifetime`, in seconds.
        trusted_authorities: `trustedCertificateAuthority`, the certificates that must have issued a new one.
    """

    longest_life: float | None = None
    trusted_authorities: frozenset[x509.Certificate] | None = None


@dataclass(frozen=True)
class Application:
    """An app registration and its credentials, each under its key id."""

    client_id: str
    object_id: str
    name: str
    certificates: Mapping[str, KeyCredential] = MappingProxyType({})
    client_secrets: Mapping[str, ClientSecret] = MappingProxyType({})
    federated_credentials: Mapping[str, FederatedCredential] = MappingProxyType({})
    trusted_subjects: tuple[TrustedSubject, ...] = ()

    def certificates_at(self, moment: float) -> tuple[RegisteredCertificate, ...]:
        """Return the certificates that Entra knows at a moment, those outside their dates included."""
        return tuple(each.certificate for each in self.certificates.values() if each.spread <= moment)


@dataclass(frozen=True)
class ServicePrincipal:
    """An application or a managed identity in one tenant: the principal that a token is for."""

    object_id: str
    app_id: str
    tenant_id: str
    enabled: bool = True


@dataclass(frozen=True)
class Api:
    """A resource that tokens are requested for; it alone chooses their version and whether they carry `idtyp`."""

    app_id: str
    name: str
    identifier_uris: frozenset[str]
    token_version: Literal[1, 2] = 1
    emits_idtyp: bool = False
    roles: frozenset[str] = frozenset()
    assignment_required: bool = False


@dataclass(frozen=True)
class AppRoleAssignment:
    """One app role of an API, granted to a service principal."""

    principal_id: str
    api_id: str
    role: str


@dataclass(frozen=True)
class ManagedIdentity:
    """A managed identity as Azure has it; `header` is the IDENTITY_HEADER of the process that may use it."""

    client_id: str
    principal_id: str
    tenant_id: str
    header: str = field(repr=False)
    resource_id: str = ""
    system_assigned: bool = False
