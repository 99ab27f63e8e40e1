"""What the local Entra knows: tenants, applications, APIs, grants, managed identities and the key that signs tokens.

Every stored value is immutable and replaced whole, so a request that is being served in another thread sees either the
old or the new one. A change is in force with the next request.
"""

import hmac
import secrets
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from cryptography import x509

from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.signing import SigningKey

KEY_VAULT = "https://vault.azure.net"
MANAGEMENT = "https://management.azure.com"
SKEW = 300  # seconds; Microsoft's token validation tolerates this much (JwtSecurityTokenHandler's default)


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
        """Compare without telling by the time taken how much was right."""
        return hmac.compare_digest(self.value.encode(), presented.encode())


@dataclass(frozen=True)
class Application:
    """An app registration; `principals` maps each tenant that has consented to its service principal's object id."""

    client_id: str
    object_id: str
    name: str
    principals: Mapping[str, str] = MappingProxyType({})
    certificates: Mapping[str, RegisteredCertificate] = MappingProxyType({})
    client_secrets: Mapping[str, ClientSecret] = MappingProxyType({})
    disabled: bool = False


@dataclass(frozen=True)
class Api:
    """A resource that tokens are asked for; it alone chooses their version and whether they carry `idtyp`."""

    app_id: str
    name: str
    identifier_uris: frozenset[str]
    token_version: Literal[1, 2] = 1
    emits_idtyp: bool = False
    roles: frozenset[str] = frozenset()
    assignment_required: bool = False


@dataclass(frozen=True)
class ManagedIdentity:
    """An identity of the platform; `header` is what its host passes to the process as IDENTITY_HEADER."""

    client_id: str
    principal_id: str
    tenant_id: str
    header: str = field(repr=False)
    resource_id: str = ""
    system_assigned: bool = False


@dataclass(frozen=True)
class Principal:
    """Who a token is for; `authentication` is its `appidacr`: "1" proved by a secret, "2" by a certificate."""

    client_id: str
    object_id: str
    authentication: Literal["1", "2"]


class Directory:
    """The state of the local Entra, changed at run time by these methods alone.

    `token_lifetime` (seconds) and `refresh_in` (seconds, absent by default as for ordinary app tokens) may be set at
    any time; `long_lifetime` is that of tokens for clients that handle challenges, `identity_lifetime` that of
    managed-identity tokens, both a day. `regional` opens the regional endpoints, which Entra keeps for Microsoft's own.
    """

    def __init__(self, *, authority: str, now: Callable[[], float]) -> None:
        self.authority = authority
        self.now = now
        self.key = SigningKey()
        self.token_lifetime = 3600
        self.long_lifetime = 86400
        self.identity_lifetime = 86400
        self.refresh_in: int | None = None
        self.regional = False
        self._lock = threading.Lock()
        self._tenants: dict[str, Tenant] = {}
        self._applications: dict[str, Application] = {}
        self._apis: dict[str, Api] = {}
        self._identities: dict[str, ManagedIdentity] = {}
        self._grants: dict[tuple[str, str], frozenset[str]] = {}

    def add_tenant(self, tenant: Tenant) -> None:
        """Make a tenant known."""
        self._tenants[tenant.id] = tenant

    def add_application(self, application: Application) -> None:
        """Make an app registration known."""
        self._applications[application.client_id] = application

    def add_api(self, api: Api) -> None:
        """Make a resource known in every tenant, as Microsoft's own are."""
        self._apis[api.app_id] = api

    def add_identity(self, identity: ManagedIdentity) -> None:
        """Assign a managed identity."""
        self._identities[identity.client_id] = identity

    def register_certificate(self, client_id: str, der: bytes) -> str:
        """Upload a public certificate to an application and return its key id.

        Raises:
            ValueError: these bytes are no certificate with an RSA key, or it is registered already.
        """
        certificate = RegisteredCertificate(x509.load_der_x509_certificate(der))
        key_id = str(uuid.uuid4())
        with self._lock:
            application = self._applications[client_id]
            if certificate in application.certificates.values():
                raise ValueError("the certificate is registered already")
            self._applications[client_id] = replace(
                application, certificates={**application.certificates, key_id: certificate}
            )
        return key_id

    def remove_certificate(self, client_id: str, key_id: str) -> None:
        """Take a certificate off an application.

        Raises:
            KeyError: no such application or key id.
        """
        with self._lock:
            application = self._applications[client_id]
            remaining = dict(application.certificates)
            del remaining[key_id]
            self._applications[client_id] = replace(application, certificates=remaining)

    def add_secret(self, client_id: str, *, lifetime: float) -> str:
        """Make a client secret that lives so many seconds and return its value, as the portal shows it once."""
        value = secrets.token_urlsafe(30)
        with self._lock:
            application = self._applications[client_id]
            secret = ClientSecret(value, self.now() + lifetime)
            self._applications[client_id] = replace(
                application, client_secrets={**application.client_secrets, str(uuid.uuid4()): secret}
            )
        return value

    def consent(self, client_id: str, *, tenant_id: str) -> str:
        """Give an application a service principal in a tenant and return its object id."""
        with self._lock:
            application = self._applications[client_id]
            object_id = application.principals.get(tenant_id) or str(uuid.uuid4())
            self._applications[client_id] = replace(
                application, principals={**application.principals, tenant_id: object_id}
            )
        return object_id

    def disable(self, client_id: str, *, disabled: bool = True) -> None:
        """Deactivate an application for every tenant, or activate it again."""
        with self._lock:
            self._applications[client_id] = replace(self._applications[client_id], disabled=disabled)

    def grant(self, principal_id: str, *, resource: str, roles: frozenset[str]) -> None:
        """Assign exactly these app roles of an API to a principal; none at all withdraws the assignment.

        Raises:
            ValueError: the API is unknown or defines no such role.
        """
        api = self.api(resource)
        if api is None or not roles <= api.roles:
            raise ValueError(f"{resource} defines no such roles: {', '.join(sorted(roles))}")
        with self._lock:
            if roles:
                self._grants[principal_id, api.app_id] = roles
            else:
                self._grants.pop((principal_id, api.app_id), None)

    def tenant(self, name: str) -> Tenant | None:
        """Find a tenant by GUID or domain, in any case."""
        wanted = name.lower()
        return next((t for t in tuple(self._tenants.values()) if wanted in {t.id, t.domain}), None)

    def application(self, client_id: str) -> Application | None:
        """Find an application by its client id."""
        return self._applications.get(client_id.lower())

    def api(self, resource: str) -> Api | None:
        """Find an API by app id or identifier URI; one trailing slash makes no difference, case does."""
        wanted = resource.removesuffix("/")
        apis = tuple(self._apis.values())
        return next((a for a in apis if wanted == a.app_id or wanted in a.identifier_uris), None)

    def identities(self) -> tuple[ManagedIdentity, ...]:
        """List the managed identities."""
        return tuple(self._identities.values())

    def roles(self, principal_id: str, api: Api) -> frozenset[str]:
        """List the roles of an API that a principal was granted."""
        return self._grants.get((principal_id, api.app_id), frozenset())

    def v2_issuer(self, tenant: Tenant) -> str:
        """Name the issuer of v2.0 tokens, which is also the address of their discovery document."""
        return f"{self.authority}/{tenant.id}/v2.0"

    def claims(
        self, principal: Principal, *, tenant: Tenant, api: Api, resource: str, lifetime: int
    ) -> dict[str, object]:
        """State the claims of an app-only access token of the version that the API asks for; `key` signs them.

        Source: learn.microsoft.com/entra/identity-platform/access-token-claims-reference
        """
        now = int(self.now())
        claims: dict[str, object] = {
            # Entra back-dates both, so that a receiver whose clock is behind accepts the token at once.
            "iat": now - SKEW,
            "nbf": now - SKEW,
            "exp": now + lifetime,
            "aio": secrets.token_urlsafe(24),
            "oid": principal.object_id,
            "sub": principal.object_id,
            "tid": tenant.id,
            "uti": secrets.token_urlsafe(16),
        }
        if api.token_version == 1:
            claims |= {
                "ver": "1.0",
                "aud": resource,
                "iss": tenant.v1_issuer,
                "idp": tenant.v1_issuer,
                "appid": principal.client_id,
                "appidacr": principal.authentication,
            }
        else:
            claims |= {
                "ver": "2.0",
                "aud": api.app_id,
                "iss": self.v2_issuer(tenant),
                "azp": principal.client_id,
                "azpacr": principal.authentication,
            }
        if api.emits_idtyp:
            claims["idtyp"] = "app"
        if roles := self.roles(principal.object_id, api):
            claims["roles"] = sorted(roles)
        return claims

    def authenticate(self, token: str, *, audience: str = KEY_VAULT, tenant_id: str | None = None) -> str | None:
        """Return the object id of the principal a bearer token proves, or None when the token is not good for this."""
        claims = self.verify(token, audience=audience, tenant_id=tenant_id)
        return str(claims["oid"]) if claims else None

    def verify(self, token: str, *, audience: str, tenant_id: str | None = None) -> Mapping[str, object] | None:
        """Return the claims of a bearer token, or None when the token is not good for this audience.

        Checked as a Microsoft service does: signature, audience, issuer and tenant, and that it is valid now.
        """
        claims = self.key.verify(token)
        if claims is None:
            return None
        tenant = self.tenant(str(claims.get("tid")))
        if tenant is None or (tenant_id is not None and tenant.id != tenant_id):
            return None
        if claims.get("iss") not in {tenant.v1_issuer, self.v2_issuer(tenant)}:
            return None
        api = self.api(audience)
        asked = claims.get("aud")
        if api is None or not isinstance(asked, str) or self.api(asked) != api:
            return None
        match claims:
            case {"nbf": int(not_before), "exp": int(expires), "oid": str()}:
                return claims if not_before <= self.now() < expires else None
        return None
