"""The local managed-identity endpoint of App Service: tokens for processes that know the header of their host.

Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference. It never
answers 404, which the SDKs would take for "not there yet" and retry.
"""

import hmac
import uuid
from collections.abc import Iterable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.objects import ManagedIdentity
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.refusal import Refusal

PATH = "/msi/token"
API_VERSION = "2019-08-01"
SELECTORS = ("client_id", "principal_id", "object_id", "mi_res_id")
LIFETIME = 86400  # seconds


class ManagedIdentityEndpoint:
    """Serves `app`; a request finds only the identities whose header it carries."""

    def __init__(self, directory: Directory, tokens: AccessTokens) -> None:
        self._directory = directory
        self._tokens = tokens
        self.app = Starlette(routes=[Route(PATH, self._token, methods=["GET"])], exception_handlers={Refusal: _refused})

    async def _token(self, request: Request) -> Response:
        presented = request.headers.get("x-identity-header", "").encode()
        mine = [i for i in self._directory.identities() if hmac.compare_digest(i.header.encode(), presented)]
        if not mine:
            raise Refusal(401, "The X-IDENTITY-HEADER header is missing or wrong.")
        query = dict(request.query_params.multi_items())
        if len(query) != len(request.query_params.multi_items()):
            raise _bad_request("A query parameter is repeated.")
        if query.get("api-version") != API_VERSION:
            raise _bad_request(f"The api-version must be {API_VERSION}.")
        identity = _selected(mine, query)
        resource = query.get("resource", "")
        api = self._directory.api(resource)
        principal = self._directory.service_principal(identity.client_id, tenant_id=identity.tenant_id)
        if api is None or principal is None:
            raise _bad_request("The resource principal was not found in the tenant.")
        claims = self._tokens.claims(principal, api=api, resource=resource, lifetime=LIFETIME)
        now = int(self._directory.now())
        return JSONResponse(
            {
                "access_token": self._tokens.key.sign(claims),
                "expires_on": str(now + LIFETIME),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": identity.client_id,
            }
        )


def _selected(identities: Iterable[ManagedIdentity], query: Mapping[str, str]) -> ManagedIdentity:
    """Return the identity that one selector names, or without a selector the system-assigned one."""
    selectors = [(name, query[name]) for name in SELECTORS if name in query]
    for identity in identities:
        own = {"client_id": identity.client_id, "mi_res_id": identity.resource_id}
        match selectors:
            case [] if identity.system_assigned:
                return identity
            case [(name, wanted)] if own.get(name, identity.principal_id) == wanted:
                return identity
    raise _bad_request("No Managed Identity found for specified ClientId/ResourceId/PrincipalId.")


def _bad_request(message: str) -> Refusal:
    return Refusal(400, message)


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    body = {"statusCode": refusal.status, "message": refusal.message, "correlationId": str(uuid.uuid4())}
    return JSONResponse(body, status_code=refusal.status)
