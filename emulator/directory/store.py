"""The one store of a local cloud: tenants and their objects, applications and their keys, grants, managed identities.

Entra, Microsoft Graph and the managed-identity endpoint are views of it. It has the rules of the data and nothing else:
tokens are in `emulator.entra`. An application and a service principal that Graph shows as deleted get no tokens.
"""

import json
import secrets
import threading
import uuid
from collections.abc import Mapping
from dataclasses import replace

import jwt
from cryptography import x509

from emulator.clock import Clock
from emulator.directory import credentials
from emulator.directory.certificate import RegisteredCertificate
from emulator.directory.directory_object import State
from emulator.directory.kinds import APPLICATIONS, SERVICE_PRINCIPALS
from emulator.directory.object_store import ObjectStore
from emulator.directory.objects import (
    Api,
    Application,
    AppRoleAssignment,
    ClientSecret,
    FederatedCredential,
    KeyCredential,
    KeyPolicy,
    ManagedIdentity,
    ServicePrincipal,
    Tenant,
    TrustedSubject,
)
from emulator.directory.population import Size

MOST_FEDERATED_CREDENTIALS = 20
NO_OBJECTS = Size()


class Directory:
    """The state of a cloud, changed at run time by these methods and those of the tenants' `objects` alone.

    The first tenant is the home of the applications.

    Every object is an immutable value that a change replaces whole, under one lock. So a request that another thread
    serves sees either the old value or the new one. A change is in force with the next request.

    Attributes that a test may set at any time:
        propagation_seconds: how long Entra does not know a certificate or federated credential that is added from now.
        key_policy: what the tenant demands of certificates that an application registers by itself.

    Args:
        now: the clock of the cloud.
    """

    def __init__(self, *, now: Clock) -> None:
        self.now = now
        self._lock = threading.RLock()
        self._objects: dict[str, ObjectStore] = {}
        self._tenants: dict[str, Tenant] = {}
        self._applications: dict[str, Application] = {}
        self._principals: dict[str, ServicePrincipal] = {}
        self._apis: dict[str, Api] = {}
        self._assignments: frozenset[AppRoleAssignment] = frozenset()
        self._identities: dict[str, ManagedIdentity] = {}
        self._issuers: dict[str, jwt.PyJWKSet] = {}
        self.propagation_seconds = 0.0
        self.key_policy = KeyPolicy()

    def add_tenant(self, tenant: Tenant, *, size: Size = NO_OBJECTS, seed: int = 1) -> None:
        """Add a tenant, which begins with made-up objects."""
        with self._lock:
            self._tenants[tenant.id] = tenant
            self._objects[tenant.id] = ObjectStore(now=self.now, lock=self._lock, size=size, seed=seed)

    def objects(self, tenant_id: str) -> ObjectStore:
        """Return the objects of a tenant.

        Raises:
            KeyError: there is no such tenant.
        """
        return self._objects[tenant_id]

    def add_application(self, application: Application) -> None:
        """Add an app registration."""
        properties = {
            "appId": application.client_id,
            "createdDateTime": credentials.moment(self.now()),
            "displayName": application.name,
            "signInAudience": "AzureADMultipleOrgs",
            **credentials.of_application(application),
        }
        with self._lock:
            self._home.create(APPLICATIONS, properties, object_id=application.object_id)
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

    def register_certificate(self, client_id: str, der: bytes, *, repeated: bool = False) -> str:
        """Add a public certificate to an application and return its key id.

        Args:
            client_id: of the application.
            der: the certificate.
            repeated: whether a certificate that is registered already gets a second key id.

        Raises:
            KeyError: there is no such application.
            ValueError: these bytes are no certificate with an RSA key, or it is registered already.
        """
        certificate = RegisteredCertificate(x509.load_der_x509_certificate(der))
        key_id = str(uuid.uuid4())
        with self._lock:
            application = self._applications[client_id]
            held = application.certificates
            if not repeated and any(each.certificate == certificate for each in held.values()):
                raise ValueError("the certificate is registered already")
            added = KeyCredential(certificate, self.now() + self.propagation_seconds)
            self._put(replace(application, certificates={**held, key_id: added}))
        return key_id

    def remove_certificate(self, client_id: str, key_id: str) -> None:
        """Remove a certificate from an application.

        Raises:
            KeyError: there is no such application or key id.
        """
        with self._lock:
            application = self._applications[client_id]
            remaining = _without(application.certificates, key_id)
            self._put(replace(application, certificates=remaining))

    def trust_subjects(self, client_id: str, *subjects: TrustedSubject) -> None:
        """Take the certificates of these subjects for an application, in place of the earlier ones.

        Raises:
            KeyError: there is no such application.
        """
        with self._lock:
            self._put(replace(self._applications[client_id], trusted_subjects=subjects))

    def add_federated_credential(
        self, client_id: str, *, issuer: str, subject: str, audience: str, name: str = "federated"
    ) -> str:
        """Trust the tokens of an issuer for a subject as client assertions, and return the id of the credential.

        Entra checks none of these values before a token comes.

        Raises:
            KeyError: there is no such application.
            ValueError: the application has twenty of them, or one with this issuer and subject.
        """
        credential_id = str(uuid.uuid4())
        with self._lock:
            application = self._applications[client_id]
            held = application.federated_credentials
            if len(held) >= MOST_FEDERATED_CREDENTIALS:
                raise ValueError(f"an application has at most {MOST_FEDERATED_CREDENTIALS} federated credentials")
            if any((each.issuer, each.subject) == (issuer, subject) for each in held.values()):
                raise ValueError("a federated credential with this issuer and subject exists already")
            spread = self.now() + self.propagation_seconds
            added = FederatedCredential(name, issuer=issuer, subject=subject, audience=audience, spread=spread)
            self._put(replace(application, federated_credentials={**held, credential_id: added}))
        return credential_id

    def remove_federated_credential(self, client_id: str, credential_id: str) -> None:
        """Remove a federated credential from an application.

        Raises:
            KeyError: there is no such application or credential.
        """
        with self._lock:
            application = self._applications[client_id]
            remaining = _without(application.federated_credentials, credential_id)
            self._put(replace(application, federated_credentials=remaining))

    def publish_keys(self, issuer: str, keys: Mapping[str, object]) -> None:
        """Set the JWK set (RFC 7517) of a foreign issuer, which Entra would download from its discovery document.

        Raises:
            ValueError: this is no JWK set with a key.
        """
        try:
            self._issuers[issuer] = jwt.PyJWKSet.from_json(json.dumps(keys))
        except jwt.PyJWTError as error:
            raise ValueError(f"no JWK set: {error}") from error

    def add_secret(self, client_id: str, *, lifetime: float) -> str:
        """Add a client secret that lives so many seconds and return its value.

        Raises:
            KeyError: there is no such application.
        """
        value = secrets.token_urlsafe(30)
        with self._lock:
            application = self._applications[client_id]
            secret = ClientSecret(value, not_before=self.now(), not_after=self.now() + lifetime)
            held = application.client_secrets
            self._put(replace(application, client_secrets={**held, str(uuid.uuid4()): secret}))
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
            tenant_id = self._principals[principal_id].tenant_id
            self._objects[tenant_id].update(principal_id, {"accountEnabled": enabled})

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
        """Return an application that is not deleted by its client ID, in any case."""
        found = self._applications.get(client_id.lower())
        return found if found and _is_active(self._home, found.object_id) else None

    def application_object(self, object_id: str) -> Application | None:
        """Return an application that is not deleted by its object ID, in any case."""
        wanted = object_id.lower()
        found = next((each for each in tuple(self._applications.values()) if each.object_id == wanted), None)
        return found if found and _is_active(self._home, wanted) else None

    def issuer_keys(self, issuer: str) -> jwt.PyJWKSet | None:
        """Return the keys that a foreign issuer has published."""
        return self._issuers.get(issuer)

    def service_principal(self, app_id: str, *, tenant_id: str) -> ServicePrincipal | None:
        """Return the one service principal that an application or a managed identity has in a tenant."""
        for each in tuple(self._principals.values()):
            if (each.app_id, each.tenant_id) != (app_id, tenant_id):
                continue
            shown = self._objects[tenant_id].find(each.object_id)
            if shown and shown.state is State.ACTIVE:
                return replace(each, enabled=shown.properties.get("accountEnabled") is not False)
        return None

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
        application = self._applications.get(app_id)
        properties = {
            "accountEnabled": principal.enabled,
            "appId": app_id,
            "displayName": application.name if application else "managed identity",
            "servicePrincipalType": "Application" if application else "ManagedIdentity",
        }
        self._objects[tenant.id].create(SERVICE_PRINCIPALS, properties, object_id=principal.object_id)
        self._principals[principal.object_id] = principal
        return principal

    def _put(self, application: Application) -> None:
        self._home.update(application.object_id, credentials.of_application(application))
        self._applications[application.client_id] = application

    @property
    def _home(self) -> ObjectStore:
        return next(iter(self._objects.values()))


def _is_active(objects: ObjectStore, object_id: str) -> bool:
    shown = objects.find(object_id)
    return shown is not None and shown.state is State.ACTIVE


def _without[T](held: Mapping[str, T], key_id: str) -> dict[str, T]:
    remaining = dict(held)
    del remaining[key_id]
    return remaining
