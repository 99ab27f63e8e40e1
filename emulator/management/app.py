"""The local Azure Resource Manager: the host keys of function apps.

It changes the same key store as the host beside it, and answers, refuses and fails as ARM does. The host behind the
real one reads its keys, changes one and writes all, and it swallows a failure to write. Of two changes at once, one can
so be lost although both are answered as done: `lose` makes that happen.
Sources: https://learn.microsoft.com/rest/api/appservice/web-apps/create-or-update-host-secret, -/delete-host-secret and
-/list-host-keys; those pages omit the envelope `properties`, which `az functionapp keys set` sends. SecretManager and
BlobStorageSecretsRepository of https://github.com/Azure/azure-functions-host.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Collection

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.bearer import bearer_token
from emulator.host.keys import KeyFile, generate
from emulator.management.errors import (
    bad_request,
    body_of,
    invalid_key_name,
    no_key,
    no_resource,
    not_authorized,
    unauthenticated,
)
from emulator.refusal import Refusal

RESOURCE = "https://management.azure.com"
API_VERSION = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
LIST = "Microsoft.Web/sites/host/listkeys/action"
WRITE = "Microsoft.Web/sites/host/functionkeys/write"
DELETE = "Microsoft.Web/sites/host/functionkeys/delete"
ACTIONS = {"POST": LIST, "PUT": WRITE, "DELETE": DELETE}


class Management:
    """Serves `app`: the sites that were added, to the principals that were made contributors.

    `fail` and `lose` are switches for tests.

    Args:
        authenticate: returns the object ID that a token for `RESOURCE` proves, or None for an invalid token.
    """

    def __init__(self, *, authenticate: Callable[[str], str | None]) -> None:
        self._authenticate = authenticate
        self._sites: dict[str, KeyFile] = {}
        self._actions: dict[str, Collection[str]] = {}
        self._failures: deque[Refusal] = deque()
        self._failing_key = ""
        self._fails_late = False
        self._lost = 0
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

    def add_contributor(self, principal_id: str, *, actions: Collection[str] = frozenset(ACTIONS.values())) -> None:
        """Allow a principal to do these actions, and no others, with the keys of every site."""
        self._actions[principal_id] = actions

    def remove_contributor(self, principal_id: str) -> None:
        """Withdraw that permission; the next request is refused, where Azure needs minutes."""
        self._actions.pop(principal_id, None)

    def fail(self, *failures: Refusal, key: str = "", after_effect: bool = False) -> None:
        """Answer the next authorized requests with these failures, one each; without any, take the others back.

        Args:
            failures: the answers.
            key: the one key whose requests fail; "" for every request.
            after_effect: whether a change happens all the same, as where its answer is lost on the way.
        """
        self._failures, self._failing_key, self._fails_late = deque(failures), key, after_effect

    def lose(self, changes: int) -> None:
        """Answer so many of the next changes as done, without their effect: another change has overwritten them."""
        self._lost = changes

    async def _set(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        if name.startswith("_"):
            raise invalid_key_name()
        try:
            properties = json.loads(await request.body())["properties"]
            value = properties.get("value") or generate()
        except (ValueError, LookupError, TypeError, AttributeError):
            raise bad_request("The request content was invalid.", code="InvalidRequestContent") from None
        is_new = name not in file.read().functionKeys
        if not self._is_lost():
            file.set(None, name, value)
        self._fail(request, is_late=True)
        made = {
            "id": request.url.path,
            "name": name,
            "type": "Microsoft.Web/sites/host/functionKeys",
            "properties": {"name": name, "value": value},
        }
        return JSONResponse(made, status_code=201 if is_new else 200)

    async def _delete(self, request: Request) -> Response:
        file, name = self._site(request), request.path_params["name"]
        if name not in file.read().functionKeys:
            raise no_key(name)
        if not self._is_lost():
            file.delete(None, name)
        self._fail(request, is_late=True)
        return Response(status_code=204)

    def _is_lost(self) -> bool:
        """Return whether the present change is one of those that another one overwrites."""
        self._lost, lost = max(self._lost - 1, 0), self._lost > 0
        return lost

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
        action = ACTIONS[request.method]
        if action not in self._actions.get(principal, ()):
            raise not_authorized(principal=principal, action=action, resource_id=resource_id)
        found = self._sites.get(resource_id.lower())
        if found is None:
            raise no_resource(resource_id)
        self._fail(request, is_late=False)
        return found

    def _fail(self, request: Request, *, is_late: bool) -> None:
        """Refuse a request that is to fail now."""
        is_meant = self._failing_key in {"", request.path_params.get("name")}
        if self._failures and is_meant and self._fails_late is is_late:
            raise self._failures.popleft()


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return JSONResponse(body_of(refusal), status_code=refusal.status, headers=refusal.headers)
