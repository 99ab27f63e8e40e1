"""The local Microsoft Graph: the users of one tenant as a list and by delta query, and the keys of applications.

It takes tokens of the local Entra.

Where Microsoft's pages permit more than one behaviour, an attribute of `Graph` switches to the harder one.
Source: https://learn.microsoft.com/graph/api/user-delta, https://learn.microsoft.com/graph/errors
"""

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.bearer import bearer_token
from emulator.directory.people import MANAGER
from emulator.directory.store import Directory
from emulator.entra.access_tokens import AccessTokens
from emulator.graph import delta as graph_delta
from emulator.graph.applications import Applications
from emulator.graph.delta import Bookmark, Issued, Place, Round, Row, Tokens
from emulator.graph.errors import bad_request, no_such_address, not_authorized, unauthenticated
from emulator.graph.query import Query, list_page_size, read_query, refuse_others, selected, token_of
from emulator.refusal import Refusal
from emulator.seed import GRAPH_ID

ROLES = frozenset({"User.Read.All", "Directory.Read.All"})
DAY = 86400
MOST_ON_A_DELTA_PAGE = 200
IGNORED_BY_DELTA = frozenset({"$top", "$orderby", "$expand"})
TOKENS = frozenset({"$skiptoken", "$deltatoken"})
LATEST = "latest"
APPLICATION = "/v1.0/applications/{object_id}"

type Document = dict[str, object]
type Claims = Mapping[str, object]
type Handler = Callable[[Request, Claims], Awaitable[Document | None]]
type Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class GraphRequest:
    """The record of one request, without its token; `rows` counts the rows of the response."""

    time: float
    path: str
    status: int
    rows: int = 0


@dataclass(frozen=True)
class Listing:
    """The meaning of a skip token of the plain list; `ids` are the people of the pages to come."""

    select: frozenset[str]
    top: int
    ids: tuple[str, ...]


class Graph:
    """Serves `app`; `requests` lists every request that reached it, oldest first.

    `applications` has the switches of `addKey` and `removeKey`.

    Attributes of delta query that a test may set at any time:
        page_size: people on a page; Graph has 200 and never more.
        shuffled: a round is in no useful order.
        repeats: half of the people come twice in a round, and each round repeats the changes of the round before.
        empty_pages: a round begins with an empty page.
        token_days: how long a token is valid.
        expired_status: of the response to an expired token; 410 has the `Location` of a new start.
        expired_code: of the same response; Graph has been seen to write it in more than one way.
    """

    def __init__(self, directory: Directory, tokens: AccessTokens, *, url: str, tenant_id: str) -> None:
        self.applications = Applications(directory, url=url)
        self._people = directory.people
        self._now = directory.now
        self._access_tokens = tokens
        self._url = url
        self._tenant_id = tenant_id
        self._places = Tokens[Place]()
        self._bookmarks = Tokens[Bookmark]()
        self._listings = Tokens[Listing]()
        self.page_size = MOST_ON_A_DELTA_PAGE
        self.shuffled = False
        self.repeats = False
        self.empty_pages = False
        self.token_days = 7.0
        self.expired_status = 400
        self.expired_code = "syncStateNotFound"
        self.requests: list[GraphRequest] = []
        self.app = Starlette(
            routes=[
                Route("/v1.0/users", self._answering(_for_readers(self._list)), methods=["GET"]),
                Route("/v1.0/users/{name:path}", self._answering(_for_readers(self._delta)), methods=["GET"]),
                Route(f"{APPLICATION}/addKey", self._answering(self._add_key), methods=["POST"]),
                Route(f"{APPLICATION}/removeKey", self._answering(self._remove_key), methods=["POST"]),
                Route("/{rest:path}", self._answering(_for_readers(_nothing))),
            ]
        )

    def _answering(self, handler: Handler) -> Endpoint:
        """Return an endpoint that authenticates the caller, answers in Graph's form and records the request."""

        async def serve(request: Request) -> Response:
            request_id = str(uuid.uuid4())
            ids = {"request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}
            seen = GraphRequest(self._now(), request.url.path, 200)
            try:
                document = await handler(request, self._authenticate(bearer_token(request)))
            except Refusal as refusal:
                self.requests.append(replace(seen, status=refusal.status))
                return self._refused(refusal, ids)
            if document is None:
                self.requests.append(replace(seen, status=204))
                return Response(status_code=204, headers=ids)
            rows = document.get("value", [])
            assert isinstance(rows, list)
            self.requests.append(replace(seen, rows=len(rows)))
            return JSONResponse(document, headers=ids | _applied(request))

        return serve

    def _authenticate(self, token: str) -> Claims:
        authority = self._access_tokens.authority
        if not token:
            raise unauthenticated("Access token is empty.", authority=authority)
        claims = self._access_tokens.verify(token, audience=GRAPH_ID, tenant_id=self._tenant_id)
        if claims is None:
            message = (
                "Access token validation failure: not signed by this Entra, not for Graph, not of this tenant or not "
                "valid now."
            )
            raise unauthenticated(message, authority=authority)
        return claims

    async def _add_key(self, request: Request, caller: Claims) -> Document:
        object_id = request.path_params["object_id"]
        return self.applications.add_key(object_id, await request.body(), client_id=str(caller["appid"]))

    async def _remove_key(self, request: Request, caller: Claims) -> None:
        object_id = request.path_params["object_id"]
        self.applications.remove_key(object_id, await request.body(), client_id=str(caller["appid"]))

    def _refused(self, refusal: Refusal, ids: dict[str, str]) -> Response:
        date = dt.datetime.fromtimestamp(self._now(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        inner = {"date": date, **ids}
        body = {"error": {"code": refusal.code, "message": refusal.message, "innerError": inner}}
        return JSONResponse(body, status_code=refusal.status, headers={**ids, **refusal.headers})

    def _list(self, _request: Request, query: Query) -> Document:
        refuse_others(query, frozenset({"$top", "$select", "$skiptoken"}))
        if token := token_of(query, "$skiptoken"):
            found = self._listings.find(token)
            if found is None:
                raise bad_request("The skip token is not known.")
            listing = found.what
        else:
            active = tuple(person.id for person in self._people.tenant().values() if not person.removed)
            listing = Listing(selected(query), list_page_size(query), active)
        here, rest = listing.ids[: listing.top], listing.ids[listing.top :]
        document: Document = {
            "@odata.context": f"{self._url}/v1.0/$metadata#users",
            "value": [self._listed(user_id, listing.select) for user_id in here],
        }
        if rest:
            token = self._listings.issue(replace(listing, ids=rest), now=self._now())
            document["@odata.nextLink"] = f"{self._url}/v1.0/users?$skiptoken={token}"
        return document

    def _listed(self, user_id: str, select: frozenset[str]) -> Row:
        """Return a user as the plain list has it, with null for properties that were never set."""
        person = self._people.find(user_id)
        properties = person.properties if person else {}
        return {"id": user_id} | {name: properties.get(name) for name in sorted(select - {MANAGER})}

    def _delta(self, request: Request, query: Query) -> Document:
        name: str = request.path_params["name"]
        if name.removesuffix("()") not in {"delta", "microsoft.graph.delta"}:
            raise no_such_address()
        address = f"{self._url}{request.url.path}"
        refuse_others(query, IGNORED_BY_DELTA | TOKENS | {"$select"})
        if query.keys() >= TOKENS:
            raise bad_request("Both skiptoken and deltatoken can't be in the same request.")
        minimal = bool(_applied(request))
        if token := token_of(query, "$skiptoken"):
            return self._page(self._good(self._places.find(token), address), address, minimal=minimal)
        if query.get("$deltatoken", "").lower() == LATEST:
            end = self._people.position
            return self._document(address, [], bookmark=Bookmark(selected(query), end, end))
        if token := token_of(query, "$deltatoken"):
            mark = self._good(self._bookmarks.find(token), address)
            start = mark.previous if self.repeats else mark.position
            begun = graph_delta.later_round(self._people, mark.select, position=start)
        else:
            begun = graph_delta.first_round(self._people, selected(query))
        place = Place(self._arranged(begun), 0)
        if self.empty_pages:
            return self._document(address, [], place=place)
        return self._page(place, address, minimal=minimal)

    def _good[T: (Place, Bookmark)](self, found: Issued[T] | None, address: str) -> T:
        """Return the meaning of a token.

        Raises:
            Refusal: the token is unknown or has expired.
        """
        if found is None:
            raise bad_request("The token is not one of this service, or was changed.")
        if self._now() - found.time <= self.token_days * DAY:
            return found.what
        select = ",".join(sorted(found.what.select))
        headers = {"Location": f"{address}?$deltatoken=&$select={select}"} if self.expired_status == 410 else {}
        message = "The sync state is not found; start again."
        raise Refusal(self.expired_status, message, code=self.expired_code, headers=headers)

    def _arranged(self, begun: Round) -> Round:
        ids = begun.ids
        if self.repeats:
            ids += ids[::2]
        if self.shuffled:
            ids = graph_delta.shuffled(ids)
        return replace(begun, ids=ids)

    def _page(self, place: Place, address: str, *, minimal: bool) -> Document:
        told, end = place.round, place.offset + min(self.page_size, MOST_ON_A_DELTA_PAGE)
        rows = [
            graph_delta.row(self._people, user_id, told, minimal=minimal) for user_id in told.ids[place.offset : end]
        ]
        if end < len(told.ids):
            return self._document(address, rows, place=Place(told, end))
        return self._document(address, rows, bookmark=Bookmark(told.select, told.end, told.start))

    def _document(
        self, address: str, rows: list[Row], *, place: Place | None = None, bookmark: Bookmark | None = None
    ) -> Document:
        document: Document = {"@odata.context": f"{self._url}/v1.0/$metadata#users(delta)"}
        now = self._now()
        if place:
            document["@odata.nextLink"] = f"{address}?$skiptoken={self._places.issue(place, now=now)}"
        if bookmark:
            document["@odata.deltaLink"] = f"{address}?$deltatoken={self._bookmarks.issue(bookmark, now=now)}"
        return document | {"value": rows}


def _for_readers(handler: Callable[[Request, Query], Document]) -> Handler:
    """Return a handler for callers that may read users."""

    async def serve(request: Request, caller: Claims) -> Document:
        roles = caller.get("roles")
        if not isinstance(roles, list) or ROLES.isdisjoint(roles):
            raise not_authorized()
        return handler(request, read_query(request))

    return serve


def _nothing(_request: Request, _query: Query) -> Document:
    raise no_such_address()


def _applied(request: Request) -> dict[str, str]:
    """Return the header for the preference of RFC 7240 that the response follows."""
    wishes = {wish.strip().lower() for wish in request.headers.get("prefer", "").split(",")}
    return {"Preference-Applied": "return=minimal"} if "return=minimal" in wishes else {}
