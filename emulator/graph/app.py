"""The local Microsoft Graph: directory objects as lists and by delta query, and the keys of applications.

It takes tokens of the local Entra, and shows the tenant that a token is of.
Source: https://learn.microsoft.com/graph/api/user-delta, https://learn.microsoft.com/graph/errors
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator.bearer import bearer_token
from emulator.directory.directory_object import State
from emulator.directory.kinds import KINDS, Kind
from emulator.directory.object_store import ObjectStore
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.graph import answers
from emulator.graph.applications import Applications
from emulator.graph.delta import DeltaQuery
from emulator.graph.errors import no_such_address, not_authorized, unauthenticated
from emulator.graph.lists import Lists
from emulator.graph.permissions import HIDDEN_MEMBERS, READERS, may_read, roles_of
from emulator.graph.query import Query, read_query
from emulator.graph.rows import Reading
from emulator.graph.switches import Switches
from emulator.refusal import Refusal
from emulator.seed import GRAPH_ID

APPLICATION = "/v1.0/applications/{object_id}"
BY_TYPE: Mapping[str, Kind] = {f"microsoft.graph.{KINDS[name].type}": KINDS[name] for name in READERS}
DELTA = frozenset({"delta", "microsoft.graph.delta"})

type Document = dict[str, object]
type Claims = Mapping[str, object]
type Handler = Callable[[Request, Claims], Awaitable[Document | None]]
type Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class GraphRequest:
    """The record of one request, without its token: a row of the tenant's activity log, as far as it is needed.

    https://learn.microsoft.com/graph/microsoft-graph-activity-logs-overview

    Args:
        rows: the number of rows of the response.
        token_id: the `uti` of the token that was accepted; there it is `SignInActivityId`.
    """

    time: float
    path: str
    status: int
    rows: int = 0
    token_id: str = ""


class Graph:
    """Serves `app`; `requests` lists every request that reached it, oldest first.

    `applications` has the switches of `addKey` and `removeKey`, `delta` those of delta query.

    Attributes that a test may set at any time:
        pass_time: called with the seconds that a page takes; it moves the clock of the cloud.
    """

    def __init__(self, directory: Directory, tokens: AccessTokens, *, url: str) -> None:
        self.applications = Applications(directory, url=url)
        self.delta = Switches()
        self.pass_time: Callable[[float], None] = directory.now.advance
        self.requests: list[GraphRequest] = []
        self._directory = directory
        self._now = directory.now
        self._access_tokens = tokens
        self._delta_query = DeltaQuery(url=url, switches=self.delta, now=self._now)
        self._lists = Lists(url=url, now=self._now)
        self.app = Starlette(
            routes=[
                Route(f"{APPLICATION}/addKey", self._answering(self._add_key), methods=["POST"]),
                Route(f"{APPLICATION}/removeKey", self._answering(self._remove_key), methods=["POST"]),
                Route("/v1.0/directory/deletedItems/{type}", self._answering(self._deleted), methods=["GET"]),
                Route("/v1.0/{kind}", self._answering(self._list), methods=["GET"]),
                Route("/v1.0/{kind}/{name}", self._answering(self._changes), methods=["GET"]),
                Route("/{rest:path}", self._answering(_nothing)),
            ]
        )

    def revoke_tokens(self) -> None:
        """Refuse every next link and delta link that was issued until now, as `delta` says."""
        self._delta_query.revoke_tokens()

    def _answering(self, handler: Handler) -> Endpoint:
        """Return an endpoint that authenticates the caller, answers in Graph's form and records the request."""

        async def serve(request: Request) -> Response:
            request_id = str(uuid.uuid4())
            ids = {"request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}
            path, percentage = request.url.path, self.delta.throttle_percentage
            units = answers.units(path, {name.lower(): value for name, value in request.query_params.items()})
            headers = answers.usual_headers(ids, units=units, throttle_percentage=percentage)
            seen = GraphRequest(self._now(), path, 200)
            try:
                caller = self._authenticate(bearer_token(request))
                seen = replace(seen, token_id=str(caller.get("uti", "")))
                shown = await handler(request, caller)
            except Refusal as refusal:
                self.requests.append(replace(seen, status=refusal.status))
                return answers.refused(refusal, headers, ids=ids, now=self._now())
            if shown is None:
                self.requests.append(replace(seen, status=204))
                return Response(status_code=204, headers=headers)
            rows = shown.get("value", [])
            assert isinstance(rows, list)
            self.requests.append(replace(seen, rows=len(rows)))
            return answers.document(shown, {**headers, **answers.preference(request)})

        return serve

    def _authenticate(self, token: str) -> Claims:
        authority = self._access_tokens.authority
        if not token:
            raise unauthenticated("Access token is empty.", authority=authority)
        claims = self._access_tokens.verify(token, audience=GRAPH_ID)
        if claims is not None:
            return claims
        message = "Access token validation failure: not signed by this Entra, not for Graph or not valid yet."
        match self._access_tokens.key.verify(token):
            case {"exp": int(expires)} if expires <= self._now():
                message = "Lifetime validation failed, the token is expired."
        raise unauthenticated(message, authority=authority)

    async def _add_key(self, request: Request, caller: Claims) -> Document:
        object_id = request.path_params["object_id"]
        return self.applications.add_key(object_id, await request.body(), client_id=str(caller["appid"]))

    async def _remove_key(self, request: Request, caller: Claims) -> None:
        object_id = request.path_params["object_id"]
        self.applications.remove_key(object_id, await request.body(), client_id=str(caller["appid"]))

    async def _list(self, request: Request, caller: Claims) -> Document:
        kind, query, objects = self._readable(request, caller, request.path_params["kind"])
        return self._lists.answer(request.url.path, query, kind=kind, objects=objects, state=State.ACTIVE)

    async def _deleted(self, request: Request, caller: Claims) -> Document:
        kind = BY_TYPE.get(request.path_params["type"])
        kind, query, objects = self._readable(request, caller, kind.name if kind else "")
        return self._lists.answer(request.url.path, query, kind=kind, objects=objects, state=State.DELETED)

    async def _changes(self, request: Request, caller: Claims) -> Document:
        if request.path_params["name"].removesuffix("()") not in DELTA:
            raise no_such_address()
        kind, query, objects = self._readable(request, caller, request.path_params["kind"])
        reading = Reading(minimal=bool(answers.preference(request)), hidden_members=HIDDEN_MEMBERS in roles_of(caller))
        if self.delta.page_seconds:
            self.pass_time(self.delta.page_seconds)
        return self._delta_query.answer(request.url.path, query, kind=kind, objects=objects, reading=reading)

    def _readable(self, request: Request, caller: Claims, name: str) -> tuple[Kind, Query, ObjectStore]:
        """Return the kind of an address, the query and the objects of the caller's tenant.

        Raises:
            Refusal: there is no such kind, the caller may not read it, or an option is repeated.
        """
        if name not in READERS:
            raise no_such_address()
        kind = KINDS[name]
        if not may_read(roles_of(caller), kind, members_suffice=self.delta.group_member_read_suffices):
            raise not_authorized()
        return kind, read_query(request), self._directory.objects(str(caller["tid"]))


async def _nothing(_request: Request, _caller: Claims) -> Document:
    raise no_such_address()
