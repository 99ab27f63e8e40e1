"""The local Key Vault: the data plane of a standard vault with Azure RBAC, as far as certificates reach.

A certificate is also a key and a secret of the same name and version. What is wrong with a request is found in the
order of the real service: token, api-version, address, role, body, object.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.role_assignments import RoleAssignments
from emulator.vault import certificates as vault_certificates
from emulator.vault import keys as vault_keys
from emulator.vault.bundles import Bundles, Document
from emulator.vault.errors import Refusal, bad_parameter, not_allowed, not_authorized
from emulator.vault.pages import page
from emulator.vault.policy import Json, Policy, read, section
from emulator.vault.roles import PREFIX, ROLES
from emulator.vault.store import Store

API_VERSIONS = {"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"}
RESOURCE = "https://vault.azure.net"


@dataclass(frozen=True)
class Call:
    """One request of a caller who was let in and may do what it asks."""

    bundles: Bundles
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Json = field(repr=False)  # an import carries a private key

    @property
    def name(self) -> str:
        """The certificate, key or secret that the address names."""
        return self.path["name"]

    @property
    def version(self) -> str | None:
        """The version that the address names, if it names one."""
        return self.path.get("version")


type Answer = tuple[int, Document | None]
type Handler = Callable[[Call], Answer]


class Door:
    """An ASGI application before the routes: turns requests away and marks every answer as the vault's."""

    def __init__(self, inside: ASGIApp, turned_away: Callable[[Request], Response | None]) -> None:
        self._inside = inside
        self._turned_away = turned_away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["cache-control"] = "no-cache"
                headers["x-content-type-options"] = "nosniff"
                headers["x-ms-keyvault-region"] = "local"
                headers["x-ms-request-id"] = str(uuid.uuid4())
            await send(message)

        # The SDKs write an empty segment where they mean the latest version: `/certificates/vend/`.
        scope["path"] = re.sub("/+", "/", scope["path"]).rstrip("/") or "/"
        application = self._turned_away(Request(scope)) or self._inside
        await application(scope, receive, send_marked)


class KeyVault:
    """One vault in memory.

    `authenticate` turns a bearer token into the object id of its principal, or None for a token that is no good here;
    `now` is in seconds since 1970 and rules dates and validity. `signatures` counts what its keys have signed: how
    often an app came here for one.
    """

    def __init__(
        self,
        *,
        authority: str,
        tenant_id: str,
        authenticate: Callable[[str], str | None],
        now: Callable[[], float],
    ) -> None:
        self._challenge = f'Bearer authorization="{authority}/{tenant_id}", resource="{RESOURCE}"'
        self._authenticate = authenticate
        self._now = now
        self._store = Store(now)
        self._roles = RoleAssignments(ROLES)
        self.signatures = 0
        inside = Starlette(routes=self._routes(), exception_handlers={HTTPException: _no_such_address})
        self.app = Door(inside, self._turned_away)

    def assign(self, principal_id: str, role: str) -> None:
        """Give a principal one of the roles of `vault_roles.ROLES`.

        Raises:
            KeyError: there is no such role.
        """
        self._roles.assign(principal_id, role)

    def unassign(self, principal_id: str, role: str) -> None:
        """Take a role from a principal."""
        self._roles.unassign(principal_id, role)

    def create_certificate(self, name: str, policy: Policy) -> str:
        """Make a certificate or its next version without HTTP and return the version.

        Raises:
            Refusal: what HTTP would answer.
        """
        return self._store.create(name, policy).id

    def certificate(self, name: str, version: str | None = None) -> bytes:
        """Return a certificate as DER without HTTP; without a version, the latest.

        Raises:
            Refusal: what HTTP would answer.
        """
        return self._store.version(name, version).material.certificate.public_bytes(Encoding.DER)

    def private_key(self, name: str) -> rsa.RSAPrivateKey:
        """Return the latest version's private key, for a test that must know what to look for where it may not be.

        Raises:
            Refusal: there is no such certificate.
        """
        return self._store.version(name, None).material.key

    def _routes(self) -> list[Route]:
        certificate = "/certificates/{name}"
        deleted = "/deletedcertificates/{name}"
        return [
            self._route("GET", "/certificates", "certificates/read", self._list_certificates),
            self._route("POST", f"{certificate}/create", "certificates/create/action", self._create),
            self._route("POST", f"{certificate}/import", "certificates/import/action", self._import),
            self._route("GET", f"{certificate}/pending", "certificates/read", self._pending),
            self._route("GET", f"{certificate}/versions", "certificates/read", self._list_versions),
            self._route("GET", f"{certificate}/policy", "certificates/read", self._policy),
            self._route("PATCH", f"{certificate}/policy", "certificates/update/action", self._update_policy),
            self._route("GET", certificate, "certificates/read", self._certificate),
            self._route("GET", f"{certificate}/{{version}}", "certificates/read", self._certificate),
            self._route("PATCH", certificate, "certificates/update/action", self._update),
            self._route("PATCH", f"{certificate}/{{version}}", "certificates/update/action", self._update),
            self._route("DELETE", certificate, "certificates/delete", self._delete),
            self._route("GET", "/deletedcertificates", "certificates/read", self._list_deleted),
            self._route("GET", deleted, "certificates/read", self._deleted),
            self._route("DELETE", deleted, "certificates/purge/action", self._purge),
            self._route("POST", f"{deleted}/recover", "certificates/recover/action", self._recover),
            self._route("GET", "/keys/{name}", "keys/read", self._key),
            self._route("GET", "/keys/{name}/{version}", "keys/read", self._key),
            self._route("POST", "/keys/{name}/sign", "keys/sign/action", self._sign),
            self._route("POST", "/keys/{name}/{version}/sign", "keys/sign/action", self._sign),
            self._route("GET", "/secrets/{name}", "secrets/getSecret/action", self._secret),
            self._route("GET", "/secrets/{name}/{version}", "secrets/getSecret/action", self._secret),
        ]

    def _route(self, method: str, path: str, action: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                self._authorize(request, action)
                call = Call(
                    Bundles(f"https://{request.headers['host']}"),
                    request.path_params,
                    request.query_params,
                    _object(await request.body()) if method in {"POST", "PATCH"} else {},
                )
                # Making a key takes a second; the other parts of the local cloud share this loop.
                status, document = await run_in_threadpool(handler, call)
            except Refusal as refusal:
                return JSONResponse(refusal.to_json(), refusal.status)
            return Response(status_code=status) if document is None else JSONResponse(document, status)

        return Route(path, endpoint, methods=[method])

    def _turned_away(self, request: Request) -> Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return self._unauthorized("AKV10000: Request is missing a Bearer or PoP token.")
        principal = self._authenticate(token)
        if principal is None:
            return self._unauthorized("[BearerReadAccessTokenFailed] Error validating token: 'S2S17000'.")
        request.state.principal = principal
        api_version = request.query_params.get("api-version", "")
        if not api_version:
            return _refuse(bad_parameter("The api-version query parameter must be specified."))
        if api_version not in API_VERSIONS:
            return _refuse(bad_parameter(f"The specified version ({api_version}) is not recognized."))
        return None

    def _unauthorized(self, message: str) -> Response:
        response = _refuse(Refusal(401, "Unauthorized", message))
        response.headers["www-authenticate"] = self._challenge
        return response

    def _authorize(self, request: Request, action: str) -> None:
        principal: str = request.state.principal
        if not self._roles.permit(principal, action):
            resource = "/".join(request.url.path.split("/")[1:3])
            raise not_authorized(principal=principal, action=PREFIX + action, resource=resource)

    def _list_certificates(self, call: Call) -> Answer:
        names = sorted(self._store.certificates(), key=lambda each: each.name)
        return 200, _page(call, "certificates", [call.bundles.name_item(each) for each in names])

    def _create(self, call: Call) -> Answer:
        enabled, tags = _changes(call.body)
        policy = Policy.parse(section(call.body, "policy"))
        self._store.create(call.name, policy, enabled=enabled is not False, tags=tags)
        return 202, call.bundles.operation(self._store.certificate(call.name), done=False)

    def _import(self, call: Call) -> Answer:
        enabled, tags = _changes(call.body)
        asked = section(call.body, "policy")
        # What the certificate itself says is taken from it; only the handling of key and secret can be asked for.
        policy = Policy.parse(
            {
                "key_props": {"exportable": section(asked, "key_props").get("exportable")},
                "secret_props": section(asked, "secret_props"),
                "x509_props": {"subject": "CN=imported"},
                "lifetime_actions": asked.get("lifetime_actions"),
                "issuer": {"name": section(asked, "issuer").get("name") or "Unknown"},
            }
        )
        material = vault_certificates.read(
            read(call.body, "value", str, ""),
            password=read(call.body, "pwd", str, "") or None,
            content_type=policy.content_type,
        )
        self._store.import_material(call.name, material, policy, enabled=enabled is not False, tags=tags)
        return 200, call.bundles.latest(self._store.certificate(call.name))

    def _pending(self, call: Call) -> Answer:
        certificate = self._store.certificate(call.name)
        if certificate.operation is None:
            raise Refusal(404, "PendingCertificateNotFound", f"Pending certificate not found: {call.name}")
        return 200, call.bundles.operation(certificate, done=True)

    def _list_versions(self, call: Call) -> Answer:
        # As in the real vault the order says nothing about age.
        versions = sorted(self._store.certificate(call.name).versions, key=lambda each: each.id)
        items = [call.bundles.certificate_item(each) for each in versions]
        return 200, _page(call, f"certificates/{call.name}/versions", items)

    def _policy(self, call: Call) -> Answer:
        return 200, call.bundles.policy(self._store.certificate(call.name))

    def _update_policy(self, call: Call) -> Answer:
        certificate = self._store.certificate(call.name)
        self._store.update_policy(certificate, certificate.policy.merged(call.body))
        return 200, call.bundles.policy(certificate)

    def _certificate(self, call: Call) -> Answer:
        if call.version is None:
            return 200, call.bundles.latest(self._store.certificate(call.name))
        return 200, call.bundles.certificate(self._store.version(call.name, call.version))

    def _update(self, call: Call) -> Answer:
        enabled, tags = _changes(call.body)
        version = self._store.version(call.name, call.version)
        self._store.update(version, enabled=enabled, tags=tags)
        return 200, call.bundles.certificate(version)

    def _delete(self, call: Call) -> Answer:
        return 200, call.bundles.deleted(self._store.delete(call.name))

    def _list_deleted(self, call: Call) -> Answer:
        names = sorted(self._store.deleted_certificates(), key=lambda each: each.name)
        return 200, _page(call, "deletedcertificates", [call.bundles.name_item(each) for each in names])

    def _deleted(self, call: Call) -> Answer:
        return 200, call.bundles.deleted(self._store.deleted(call.name))

    def _purge(self, call: Call) -> Answer:
        self._store.purge(call.name)
        return 204, None

    def _recover(self, call: Call) -> Answer:
        return 200, call.bundles.latest(self._store.recover(call.name))

    def _key(self, call: Call) -> Answer:
        return 200, call.bundles.key(self._store.version(call.name, call.version, kind="key"))

    def _sign(self, call: Call) -> Answer:
        version = self._store.version(call.name, call.version, kind="key")
        signature = vault_keys.sign(
            version,
            algorithm=read(call.body, "alg", str, ""),
            value=read(call.body, "value", str, ""),
            now=self._now(),
        )
        self.signatures += 1
        return 200, {"kid": call.bundles.id("keys", version), "value": signature}

    def _secret(self, call: Call) -> Answer:
        version = self._store.version(call.name, call.version, kind="secret")
        # A secret that is expired or not valid yet can still be read, unlike one that is disabled:
        # https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#date-time-controlled-operations
        if not version.enabled:
            raise not_allowed("get", "disabled", "secret", "SecretDisabled")
        return 200, call.bundles.secret(version)


def _refuse(refusal: Refusal) -> Response:
    return JSONResponse(refusal.to_json(), refusal.status)


def _no_such_address(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _refuse(Refusal(error.status_code, "BadParameter", "The method or address is not supported."))
    response.headers.update(error.headers or {})
    return response


def _object(body: bytes) -> Json:
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise bad_parameter("The request body is not valid JSON") from error
    if not isinstance(document, dict):
        raise bad_parameter("The request body is not a JSON object")
    return document


def _changes(body: Json) -> tuple[bool | None, Mapping[str, str] | None]:
    """Read what a client may set on a version: whether it is enabled, and its tags."""
    attributes = section(body, "attributes")
    if unknown := {name for name, value in attributes.items() if value is not None} - {"enabled"}:
        # A certificate's dates are what X.509 says.
        raise bad_parameter(f"Attributes are read-only: {', '.join(sorted(unknown))}")
    enabled = read(attributes, "enabled", bool, default=False) if attributes.get("enabled") is not None else None
    if body.get("tags") is None:
        return enabled, None
    tags = section(body, "tags")
    return enabled, {name: read(tags, name, str, "") for name in tags}


def _page(call: Call, path: str, items: list[Document]) -> Document:
    return page(items, address=f"{call.bundles.base}/{path}", query=call.query)
