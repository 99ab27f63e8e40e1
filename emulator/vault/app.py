"""The local Key Vault: the data plane of a standard vault with Azure RBAC, as far as certificates and secrets reach.

A certificate is also a key and a secret of the same name and version. Requests are checked in the order of the real
service: token, network, api-version, address, role, body, object.
"""

import json
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.refusal import Refusal
from emulator.role_assignments import RoleAssignments
from emulator.vault.bundles import Bundles
from emulator.vault.certificates import read
from emulator.vault.door import Door, refused
from emulator.vault.errors import bad_parameter, not_authorized
from emulator.vault.operations import Call, Operation, Operations
from emulator.vault.policy import PFX, Json, Policy
from emulator.vault.roles import PREFIX, ROLES
from emulator.vault.store import Store

RESOURCE = "https://vault.azure.net"


class KeyVault:
    """One vault in memory.

    Attributes:
        app: serves the vault; `app.closed` keeps every caller out, as the network of a vault does.
        store.pending_seconds: how long the issuer of a new certificate needs.

    Args:
        authority: of the challenge.
        tenant_id: of the challenge.
        authenticate: returns the object ID that a token for `RESOURCE` proves, or None for an invalid token.
        now: the clock of dates and validity, in seconds since 1970.
    """

    def __init__(
        self,
        *,
        authority: str,
        tenant_id: str,
        authenticate: Callable[[str], str | None],
        now: Callable[[], float],
    ) -> None:
        self.store = Store(now)
        self._operations = Operations(self.store, now)
        self._roles = RoleAssignments(ROLES)
        inside = Starlette(
            routes=self._routes(), exception_handlers={HTTPException: _no_such_address, Refusal: _refused}
        )
        self.app = Door(inside, authenticate=authenticate, authority=f"{authority}/{tenant_id}", resource=RESOURCE)

    @property
    def signatures(self) -> int:
        """How many signatures the keys of the vault have made."""
        return self._operations.signatures

    def assign(self, principal_id: str, role: str) -> None:
        """Assign one of `vault.roles.ROLES` to a principal.

        Raises:
            KeyError: there is no such role.
        """
        self._roles.assign(principal_id, role)

    def unassign(self, principal_id: str, role: str) -> None:
        """Remove a role assignment; the next request is refused, where Azure needs minutes."""
        self._roles.unassign(principal_id, role)

    def create_certificate(self, name: str, policy: Policy) -> str:
        """Create a certificate or its next version without HTTP and return the version.

        Raises:
            Refusal: as over HTTP.
        """
        return self.store.create(name, policy).id

    def import_certificate(
        self, name: str, value: str, *, password: str | None = None, content_type: str = PFX, exportable: bool = True
    ) -> str:
        """Import a certificate, and the chain above it, without HTTP and return the version.

        Args:
            name: of the certificate.
            value: base64 of a PFX, or a PEM file.
            password: of the PFX.
            content_type: PFX or PEM; of the value, and of the secret.
            exportable: whether the secret has the private key.

        Raises:
            Refusal: as over HTTP.
        """
        policy = Policy("CN=imported", content_type=content_type, exportable=exportable, issuer="Unknown")
        material = read(value, password=password, content_type=content_type)
        return self.store.import_material(name, material, policy, enabled=True, tags=None).id

    def set_policy(self, name: str, policy: Policy) -> None:
        """Replace the policy of a certificate, by which its next versions are made and when.

        Raises:
            Refusal: there is no such certificate.
        """
        self.store.update_policy(self.store.certificate(name), policy)

    def versions(self, name: str) -> list[str]:
        """Return the versions of a certificate, the oldest first.

        Raises:
            Refusal: there is no such certificate.
        """
        return [version.id for version in self.store.certificate(name).versions]

    def set_enabled(self, name: str, version: str | None = None, *, enabled: bool) -> None:
        """Enable or disable a version of a certificate, with its key and its secret; the latest if none is named.

        Raises:
            Refusal: there is no such version.
        """
        self.store.update(self.store.version(name, version), enabled=enabled, tags=None)

    def certificate(self, name: str, version: str | None = None) -> bytes:
        """Return a certificate as DER without HTTP; without a version, the latest.

        Raises:
            Refusal: as over HTTP.
        """
        return self.store.version(name, version).material.certificate.public_bytes(Encoding.DER)

    def private_key(self, name: str, version: str | None = None) -> rsa.RSAPrivateKey:
        """Return the RSA key of a version, for a test that searches for it where it must not be.

        Raises:
            Refusal: there is no such certificate.
            TypeError: the key is elliptic.
        """
        key = self.store.version(name, version).material.key
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"the key of {name} is elliptic")
        return key

    def set_secret(
        self,
        name: str,
        value: str,
        *,
        content_type: str = "",
        not_before: int | None = None,
        expires: int | None = None,
    ) -> str:
        """Set a plain secret, or its next version, and return the version; the dates are in epoch seconds.

        Raises:
            ValueError: a certificate has this name.
        """
        if any(each.name.lower() == name.lower() for each in self.store.certificates()):
            raise ValueError(f"{name} is a certificate, which has a secret of its own")
        added = self.store.secrets.set(name, value, content_type=content_type, not_before=not_before, expires=expires)
        return added.id

    def set_secret_enabled(self, name: str, version: str | None = None, *, enabled: bool) -> None:
        """Enable or disable a version of a plain secret; the latest if none is named.

        Raises:
            Refusal: there is no such version.
        """
        self.store.secrets.set_enabled(name, version, enabled=enabled)

    def _routes(self) -> list[Route]:
        do = self._operations
        certificate = "/certificates/{name}"
        deleted = "/deletedcertificates/{name}"
        return [
            self._route("GET", "/certificates", "certificates/read", do.list_certificates),
            self._route("POST", f"{certificate}/create", "certificates/create/action", do.create),
            self._route("POST", f"{certificate}/import", "certificates/import/action", do.import_certificate),
            self._route("GET", f"{certificate}/pending", "certificates/read", do.pending),
            self._route("GET", f"{certificate}/versions", "certificates/read", do.list_versions),
            self._route("GET", f"{certificate}/policy", "certificates/read", do.policy),
            self._route("PATCH", f"{certificate}/policy", "certificates/update/action", do.update_policy),
            self._route("GET", certificate, "certificates/read", do.certificate),
            self._route("GET", f"{certificate}/{{version}}", "certificates/read", do.certificate),
            self._route("PATCH", certificate, "certificates/update/action", do.update),
            self._route("PATCH", f"{certificate}/{{version}}", "certificates/update/action", do.update),
            self._route("DELETE", certificate, "certificates/delete", do.delete),
            self._route("GET", "/deletedcertificates", "certificates/read", do.list_deleted),
            self._route("GET", deleted, "certificates/read", do.deleted),
            self._route("DELETE", deleted, "certificates/purge/action", do.purge),
            self._route("POST", f"{deleted}/recover", "certificates/recover/action", do.recover),
            self._route("GET", "/keys/{name}", "keys/read", do.key),
            self._route("GET", "/keys/{name}/{version}", "keys/read", do.key),
            self._route("POST", "/keys/{name}/sign", "keys/sign/action", do.sign),
            self._route("POST", "/keys/{name}/{version}/sign", "keys/sign/action", do.sign),
            self._route("GET", "/secrets/{name}", "secrets/getSecret/action", do.secret),
            self._route("GET", "/secrets/{name}/versions", "secrets/readMetadata/action", do.list_secret_versions),
            self._route("GET", "/secrets/{name}/{version}", "secrets/getSecret/action", do.secret),
        ]

    def _route(self, method: str, path: str, action: str, operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            self._authorize(request, action)
            call = Call(
                Bundles(f"https://{request.headers['host']}"),
                request.path_params,
                request.query_params,
                _object(await request.body()) if method in {"POST", "PATCH"} else {},
            )
            # Generating a key takes a second; the other parts of the local cloud share this loop.
            answer = await run_in_threadpool(operation, call)
            if answer.document is None:
                return Response(status_code=answer.status)
            return JSONResponse(answer.document, answer.status, headers=dict(answer.headers))

        return Route(path, endpoint, methods=[method])

    def _authorize(self, request: Request, action: str) -> None:
        principal: str = request.state.principal
        if not self._roles.permit(principal, action):
            resource = "/".join(request.url.path.split("/")[1:3])
            raise not_authorized(principal=principal, action=PREFIX + action, resource=resource)


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refused(refusal)


async def _no_such_address(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "The method or address is not supported."
    return refused(Refusal(error.status_code, message, code="BadParameter", headers=error.headers or {}))


def _object(body: bytes) -> Json:
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise bad_parameter("The request body is not valid JSON") from error
    if not isinstance(document, dict):
        raise bad_parameter("The request body is not a JSON object")
    return document
