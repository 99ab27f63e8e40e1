"""The local Azure Resource Manager: the host keys of function apps.

It changes the same key store as the host beside it, and answers and refuses as ARM does.
Source: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret, -/delete-host-secret and
-/list-host-keys. Those pages omit the envelope `properties`, which `az functionapp keys set` sends.
"""

import json
import re
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.bearer import bearer_token
from emulator.host.keys import KeyFile, generate
from emulator.management.errors import bad_request, not_authorized, not_found, unauthenticated
from emulator.refusal import Refusal

RESOURCE = "https://management.azure.com"
API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")


class Management:
    """Serves `app`: the sites that were added, to the principals that were made contributors.

    Args:
        authenticate: returns the object id that a token for `RESOURCE` proves, or None for an invalid token.
    """

    def __init__(self, *, authenticate: Callable[[str], str | None]) -> None:
        self._authenticate = authenticate
        self._sites: dict[str, KeyFile] = {}
        self._contributors: set[str] = set()
        at = "/{site:path}/host/default"
        self.app = Starlette(
            routes=[
                Route(f"{at}/functionKeys/{{name}}", self._set, methods=["PUT"]),
                Route(f"{at}/functionKeys/{{name}}", self._delete, methods=["DELETE"]),
                Route(f"{at}/listkeys", self._list, methods=["POST"]),
            ],
            exception_handlers={Refusal: _refused},
        )

    def add_site(self, resource_id: str, keys: KeyFile) -> None:
        """Add a function app by its resource id, in any case."""
        self._sites[resource_id.lower()] = keys

    def add_contributor(self, principal_id: str) -> None:
        """Allow a principal to read and write the keys of every site."""
        self._contributors.add(principal_id)

    def remove_contributor(self, principal_id: str) -> None:
        """Withdraw that permission; the next request is refused, where Azure needs minutes."""
        self._contributors.discard(principal_id)

    async def _set(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        if name.startswith("_"):
            raise bad_request("Invalid key name.")
        try:
            properties = json.loads(await request.body())["properties"]
            value = properties.get("value") or generate()
        except (ValueError, LookupError, TypeError, AttributeError):
            raise bad_request("The request content was invalid.", code="InvalidRequestContent") from None
        is_new = file.set(None, name, value)
        made = {
            "id": request.url.path,
            "name": name,
            "type": "Microsoft.Web/sites/host/functionKeys",
            "properties": {"name": name, "value": value},
        }
        return JSONResponse(made, status_code=201 if is_new else 200)

    async def _delete(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        if not file.delete(None, name):
            raise not_found(f"Key '{name}' was not found.")
        return Response(status_code=204)

    async def _list(self, request: Request) -> Response:
        keys = self._site(request).read()
        return JSONResponse({"masterKey": keys.master, "functionKeys": keys.functionKeys, "systemKeys": {}})

    def _site(self, request: Request) -> KeyFile:
        """Return the key store that a request is for, once its sender is authenticated and authorized."""
        token = bearer_token(request)
        if not token:
            message = "Authentication failed. The 'Authorization' header is missing."
            raise unauthenticated(message, code="AuthenticationFailed")
        principal = self._authenticate(token)
        if principal is None:
            raise unauthenticated("The access token is invalid.", code="InvalidAuthenticationToken")
        version = request.query_params.get("api-version")
        if not version:
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise bad_request(message, code="MissingApiVersionParameter")
        if not API_VERSION.fullmatch(version):
            raise bad_request(f"The api-version '{version}' is invalid.", code="InvalidApiVersionParameter")
        resource_id = f"/{request.path_params['site']}"
        if principal not in self._contributors:
            raise not_authorized(principal=principal, resource_id=resource_id)
        found = self._sites.get(resource_id.lower())
        if found is None:
            raise not_found(f"The Resource '{resource_id}' was not found.", code="ResourceNotFound")
        return found


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return JSONResponse(body, status_code=refusal.status, headers=refusal.headers)
