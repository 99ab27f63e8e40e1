"""The local Azure Resource Manager: the host keys of function apps, and nothing else of it.

It changes the same key store as the host beside it, and answers and refuses as ARM does.
Source: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret, -/delete-host-secret and
-/list-host-keys; the envelope `properties`, which those pages leave out, is what `az functionapp keys set` sends.
"""

import json
import re
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.directory.store import MANAGEMENT, Directory
from emulator.host.keys import KeyFile, generate

API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")


@dataclass(eq=False)
class Refusal(Exception):
    """What ARM answers instead of a result."""

    status: int
    code: str
    message: str


class Management:
    """Serves `app`: the sites that were added, to the principals that were made contributors."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
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
        """Make a function app known by its resource id, whose case does not count."""
        self._sites[resource_id.lower()] = keys

    def add_contributor(self, principal_id: str) -> None:
        """Give a principal the right to read and write the keys of every site."""
        self._contributors.add(principal_id)

    def remove_contributor(self, principal_id: str) -> None:
        """Take the right away; the next request is refused, where Azure needs minutes."""
        self._contributors.discard(principal_id)

    async def _set(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        if name.startswith("_"):
            raise Refusal(400, "BadRequest", "Invalid key name.")
        try:
            properties = json.loads(await request.body())["properties"]
            value = properties.get("value") or generate()
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Refusal(400, "InvalidRequestContent", "The request content was invalid.") from None
        keys = file.read()
        is_new = name not in keys.functionKeys
        keys.functionKeys[name] = value
        file.write(keys)
        made = {
            "id": request.url.path,
            "name": name,
            "type": "Microsoft.Web/sites/host/functionKeys",
            "properties": {"name": name, "value": value},
        }
        return JSONResponse(made, status_code=201 if is_new else 200)

    async def _delete(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        keys = file.read()
        if keys.functionKeys.pop(name, None) is None:
            raise Refusal(404, "NotFound", f"Key '{name}' was not found.")
        file.write(keys)
        return Response(status_code=204)

    async def _list(self, request: Request) -> Response:
        keys = self._site(request).read()
        return JSONResponse({"masterKey": keys.master, "functionKeys": keys.functionKeys, "systemKeys": {}})

    def _site(self, request: Request) -> KeyFile:
        """Find the key store that a request is for, once its sender has shown the right to it."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer":
            message = "Authentication failed. The 'Authorization' header is missing."
            raise Refusal(401, "AuthenticationFailed", message)
        principal = self._directory.authenticate(token, audience=MANAGEMENT)
        if principal is None:
            raise Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")
        version = request.query_params.get("api-version")
        if not version:
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise Refusal(400, "MissingApiVersionParameter", message)
        if not API_VERSION.fullmatch(version):
            raise Refusal(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")
        resource_id = f"/{request.path_params['site']}"
        if principal not in self._contributors:
            message = (
                f"The client with object id '{principal}' does not have authorization to perform action "
                f"over scope '{resource_id}' or the scope is invalid."
            )
            raise Refusal(403, "AuthorizationFailed", message)
        found = self._sites.get(resource_id.lower())
        if found is None:
            raise Refusal(404, "ResourceNotFound", f"The Resource '{resource_id}' was not found.")
        return found


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {"www-authenticate": 'Bearer error="invalid_token"'} if refusal.status == 401 else None
    body = {"error": {"code": refusal.code, "message": refusal.message}}
    return JSONResponse(body, status_code=refusal.status, headers=headers)
