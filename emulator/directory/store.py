"""The one store of a local cloud: tenants, applications and their keys, service principals, grants, identities, people.

Entra, Microsoft Graph and the managed-identity endpoint are views of it. It has the rules of the data and nothing else:
tokens are in `emulator.entra`.
"""

import secrets
import threading
import uuid
from dataclasses import replace

from cryptography import x509

from emulator.clock import Clock
from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.objects import (
    Api,
    Application,
    AppRoleAssignment,
    ClientSecret,
    ManagedIdentity,
    ServicePrincipal,
    Tenant,
)
from emulator.directory.people import People


class Directory:
    """The state of a cloud, changed at run time by these methods and those of `people` alone.

    Every object is an immutable value that a change replaces whole, under one lock. So a request that another thread
    serves sees either the old value or the new one. A change is in force with the next request.

    Args:
        now: the clock of the cloud.
        users: how many people the synthetic tenant has.
    """

    def __init__(self, *, now: Clock, users: int) -> None:
        self.now = now
        self._lock = threading.Lock()
        self.people = People(users, lock=self._lock)
        self._tenants: dict[str, Tenant] = {}
        self._applications: dict[str, Application] = {}
        self._principals: dict[str, ServicePrincipal] = {}
        self._apis: dict[str, Api] = {}
        self._assignments: frozenset[AppRoleAssignment] = frozenset()
        self._identities: dict[str, ManagedIdentity] = {}

    def add_tenant(self, tenant: Tenant) -> None:
        """Add a tenant."""
        with self._lock:
            self._tenants[tenant.id] = tenant

    def add_application(self, application: Application) -> None:
        """Add an app registration."""
        with self._lock:
            self._applications[application.client_id] = application

    def add_api(self, api: Api) -> None:
        """Add a resource to every tenant, as Microsoft's own are."""
        with self._lock:
            self._apis[api.app_id] = api

    def add_identity(self, identity: ManagedIdentity) -> None:
        """Add a managed identity, which has a service principal from the start.

        Raises:
            KeyError: there is no such tenant.
        """
        with self._lock:
            self._add_principal(identity.client_id, tenant_id=identity.tenant_id, object_id=identity.principal_id)
            self._identities[identity.client_id] = identity

    def register_certificate(self, client_id: str, der: bytes) -> str:
        """Add a public certificate to an application and return its key id.

        Raises:
            KeyError: there is no such application.
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
        """Remove a certificate from an application.

        Raises:
            KeyError: there is no such application or key id.
        """
        with self._lock:
            application = self._applications[client_id]
            remaining = dict(application.certificates)
            del remaining[key_id]
            self._applications[client_id] = replace(application, certificates=remaining)

    def add_secret(self, client_id: str, *, lifetime: float) -> str:
        """Add a client secret that lives so many seconds and return its value.

        Raises:
            KeyError: there is no such application.
        """
        value = secrets.token_urlsafe(30)
        with self._lock:
            application = self._applications[client_id]
            secret = ClientSecret(value, self.now() + lifetime)
            self._applications[client_id] = replace(
                application, client_secrets={**application.client_secrets, str(uuid.uuid4()): secret}
            )
        return value

    def consent(self, client_id: str, *, tenant_id: str, object_id: str | None = None) -> ServicePrincipal:
        """Return the service principal of an application in a tenant, which is created if there is none.

        Args:
            client_id: of the application.
            tenant_id: of the tenant that consents.
            object_id: of a new service principal; None draws one.

        Raises:
            KeyError: there is no such application or tenant.
        """
        with self._lock:
            app_id = self._applications[client_id].client_id
            known = self.service_principal(app_id, tenant_id=tenant_id)
            return known or self._add_principal(app_id, tenant_id=tenant_id, object_id=object_id)

    def set_enabled(self, principal_id: str, *, enabled: bool) -> None:
        """Enable or disable a service principal; a disabled one gets no new tokens.

        Raises:
            KeyError: there is no such service principal.
        """
        with self._lock:
            self._principals[principal_id] = replace(self._principals[principal_id], enabled=enabled)

    def grant(self, principal_id: str, *, resource: str, roles: frozenset[str]) -> None:
        """Assign exactly these app roles of an API to a service principal, in place of the earlier ones.

        Raises:
            KeyError: there is no such service principal.
            ValueError: the API is unknown or defines no such role.
        """
        api = self.api(resource)
        if api is None or not roles <= api.roles:
            raise ValueError(f"{resource} defines no such roles: {', '.join(sorted(roles))}")
        with self._lock:
            holder = self._principals[principal_id].object_id
            others = {each for each in self._assignments if (each.principal_id, each.api_id) != (holder, api.app_id)}
            assigned = {AppRoleAssignment(holder, api_id=api.app_id, role=role) for role in roles}
            self._assignments = frozenset(others | assigned)

    def tenant(self, name: str) -> Tenant | None:
        """Return a tenant by GUID or domain, in any case."""
        wanted = name.lower()
        return next((each for each in tuple(self._tenants.values()) if wanted in {each.id, each.domain}), None)

    def application(self, client_id: str) -> Application | None:
        """Return an application by its client id, in any case."""
        return self._applications.get(client_id.lower())

    def service_principal(self, app_id: str, *, tenant_id: str) -> ServicePrincipal | None:
        """Return the one service principal that an application or a managed identity has in a tenant."""
        principals = tuple(self._principals.values())
        return next((each for each in principals if (each.app_id, each.tenant_id) == (app_id, tenant_id)), None)

    def api(self, resource: str) -> Api | None:
        """Return an API by app id or identifier URI; one trailing slash makes no difference, case does."""
        wanted = resource.removesuffix("/")
        apis = tuple(self._apis.values())
        return next((each for each in apis if wanted == each.app_id or wanted in each.identifier_uris), None)

    def identities(self) -> tuple[ManagedIdentity, ...]:
        """Return the managed identities."""
        return tuple(self._identities.values())

    def roles(self, principal_id: str, api: Api) -> frozenset[str]:
        """Return the roles of an API that a service principal was granted."""
        held = self._assignments
        return frozenset(each.role for each in held if (each.principal_id, each.api_id) == (principal_id, api.app_id))

    def _add_principal(self, app_id: str, *, tenant_id: str, object_id: str | None) -> ServicePrincipal:
        tenant = self._tenants[tenant_id]
        principal = ServicePrincipal(object_id or str(uuid.uuid4()), app_id=app_id, tenant_id=tenant.id)
        self._principals[principal.object_id] = principal
        return principal
