"""The local managed-identity endpoint of App Service: tokens for processes that know the header of their host.

Source: learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference. It never answers 404,
which the SDKs would take as "not there yet" and repeat.
"""

import hmac
import uuid

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.store import Directory, ManagedIdentity, Principal

PATH = "/msi/token"
API_VERSION = "2019-08-01"
SELECTORS = ("client_id", "principal_id", "object_id", "mi_res_id")


class ManagedIdentityEndpoint:
    """Serves `app`; an identity is found only among those whose header the request carries."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.app = Starlette(routes=[Route(PATH, self._token, methods=["GET"])])

    async def _token(self, request: Request) -> Response:
        presented = request.headers.get("x-identity-header", "").encode()
        mine = [i for i in self._directory.identities() if hmac.compare_digest(i.header.encode(), presented)]
        if not mine:
            return _refusal(401, "The X-IDENTITY-HEADER header is missing or wrong.")
        query = dict(request.query_params.multi_items())
        if len(query) != len(request.query_params.multi_items()):
            return _refusal(400, "A query parameter is repeated.")
        if query.get("api-version") != API_VERSION:
            return _refusal(400, f"The api-version must be {API_VERSION}.")
        identity = _selected(mine, query)
        if identity is None:
            return _refusal(400, "No Managed Identity found for specified ClientId/ResourceId/PrincipalId.")
        resource = query.get("resource", "")
        api, tenant = self._directory.api(resource), self._directory.tenant(identity.tenant_id)
        if api is None or tenant is None:
            return _refusal(400, "The resource principal was not found in the tenant.")
        lifetime = self._directory.identity_lifetime
        claims = self._directory.claims(
            Principal(identity.client_id, identity.principal_id, authentication="2"),
            tenant=tenant,
            api=api,
            resource=resource,
            lifetime=lifetime,
        )
        now = int(self._directory.now())
        return JSONResponse(
            {
                "access_token": self._directory.key.sign(claims),
                "expires_on": str(now + lifetime),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            }
        )


def _selected(identities: list[ManagedIdentity], query: dict[str, str]) -> ManagedIdentity | None:
    """Find the identity that one selector names, or without a selector the system-assigned one."""
    selectors = [(name, query[name]) for name in SELECTORS if name in query]
    if not selectors:
        return next((i for i in identities if i.system_assigned), None)
    if len(selectors) > 1:
        return None
    ((name, wanted),) = selectors
    for identity in identities:
        own = {"client_id": identity.client_id, "mi_res_id": identity.resource_id}
        if own.get(name, identity.principal_id) == wanted:
            return identity
    return None


def _refusal(status: int, message: str) -> Response:
    body = {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())}
    return JSONResponse(body, status_code=status)
