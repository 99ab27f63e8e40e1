"""The objects of a directory, as immutable values.

Their ids and their relations are those of Microsoft Graph, so that a service which shows them is a view of the store:
https://learn.microsoft.com/graph/api/resources/serviceprincipal, .../application, .../approleassignment
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from emulator.directory.certificate import RegisteredCertificate


@dataclass(frozen=True)
class Tenant:
    """One Entra tenant, addressed by its GUID or its domain."""

    id: str
    domain: str

    @property
    def v1_issuer(self) -> str:
        """The `iss` of v1.0 tokens: a name, the same whichever host issued them."""
        return f"https://sts.windows.net/{self.id}/"


@dataclass(frozen=True)
class ClientSecret:
    """A password of an application; `not_after` is in epoch seconds."""

    value: str = field(repr=False)
    not_after: float

    def equals(self, presented: str) -> bool:
        """Compare in a time that does not depend on how much is right."""
        return hmac.compare_digest(self.value.encode(), presented.encode())


@dataclass(frozen=True)
class Application:
    """An app registration and its keys, each under its key id."""

    client_id: str
    object_id: str
    name: str
    certificates: Mapping[str, RegisteredCertificate] = MappingProxyType({})
    client_secrets: Mapping[str, ClientSecret] = MappingProxyType({})


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
