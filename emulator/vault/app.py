"""The local Key Vault: the data plane of a standard vault with Azure RBAC, as far as certificates reach.

A certificate is also a key and a secret of the same name and version. Requests are checked in the order of the real
service: token, api-version, address, role, body, object.
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
from emulator.vault.door import Door, refused
from emulator.vault.errors import bad_parameter, not_authorized
from emulator.vault.operations import Call, Operation, Operations
from emulator.vault.policy import Json, Policy
from emulator.vault.roles import PREFIX, ROLES
from emulator.vault.store import Store

RESOURCE = "https://vault.azure.net"


class KeyVault:
    """One vault in memory.

    Args:
        authority: of the challenge.
        tenant_id: of the challenge.
        authenticate: returns the object id that a token for `RESOURCE` proves, or None for an invalid token.
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
        self._store = Store(now)
        self._operations = Operations(self._store, now)
        self._roles = RoleAssignments(ROLES)
        inside = Starlette(
            routes=self._routes(), exception_handlers={HTTPException: _no_such_address, Refusal: _refused}
        )
        challenge = f'Bearer authorization="{authority}/{tenant_id}", resource="{RESOURCE}"'
        self.app = Door(inside, authenticate=authenticate, challenge=challenge)

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
        return self._store.create(name, policy).id

    def certificate(self, name: str, version: str | None = None) -> bytes:
        """Return a certificate as DER without HTTP; without a version, the latest.

        Raises:
            Refusal: as over HTTP.
        """
        return self._store.version(name, version).material.certificate.public_bytes(Encoding.DER)

    def private_key(self, name: str) -> rsa.RSAPrivateKey:
        """Return the private key of the latest version, for a test that searches for it where it must not be.

        Raises:
            Refusal: there is no such certificate.
        """
        return self._store.version(name, None).material.key

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
            status, document = await run_in_threadpool(operation, call)
            return Response(status_code=status) if document is None else JSONResponse(document, status)

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
