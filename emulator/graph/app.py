"""The local Microsoft Graph: the users of one tenant as a list and by delta query, for tokens of the local Entra.

Where Microsoft's pages leave it open what a client may meet, an attribute of `Graph` switches to the harder case.
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

from emulator.directory.people import MANAGER, PROPERTIES, People
from emulator.directory.store import Directory
from emulator.graph import delta as graph_delta
from emulator.graph.delta import Bookmark, Issued, Place, Round, Row, Tokens
from emulator.seed import GRAPH_ID

ROLES = frozenset({"User.Read.All", "Directory.Read.All"})
DAY = 86400
# What Graph returns of a user when nothing is selected.
DEFAULT_SELECT = frozenset(
    {
        "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
        "preferredLanguage", "surname", "userPrincipalName",
    }
)  # fmt: skip
SELECTABLE = PROPERTIES | {MANAGER, "id"}
MOST_ON_A_DELTA_PAGE = 200
MOST_ON_A_LIST_PAGE = 999
USUAL_LIST_PAGE = 100
IGNORED_BY_DELTA = frozenset({"$top", "$orderby", "$expand"})
TOKENS = frozenset({"$skiptoken", "$deltatoken"})
LATEST = "latest"

type Query = Mapping[str, str]
type Document = dict[str, object]
type Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class GraphRequest:
    """What is remembered of one request: never a token. `rows` is how many its answer had."""

    time: float
    path: str
    status: int
    rows: int = 0


@dataclass(frozen=True)
class Listing:
    """What a skip token of the plain list stands for; `ids` are the people who are still to come."""

    select: frozenset[str]
    top: int
    ids: tuple[str, ...]


@dataclass(eq=False)
class Refusal(Exception):
    """What Graph answers instead of a result."""

    status: int
    code: str
    message: str
    location: str | None = None


class Graph:
    """Serves `app`; `requests` lists every request that reached it, oldest first.

    Switches of delta query, to be set at any time:
        page_size: people on a page; Graph has 200 and never more.
        shuffled: a round is in no useful order.
        repeats: half of the people come twice in a round, and every round tells the changes of the one before it again.
        empty_pages: a round begins with a page that has nobody on it.
        token_days: how long a token is good for.
        expired_status: of the answer to one that is not; 410 comes with the `Location` of a fresh start.
        expired_code: its code; Graph has been seen to write it in more than one way.
    """

    def __init__(self, people: People, directory: Directory, *, url: str, tenant_id: str) -> None:
        self._people = people
        self._directory = directory
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
                Route("/v1.0/users", self._answering(self._list), methods=["GET"]),
                Route("/v1.0/users/{name:path}", self._answering(self._delta), methods=["GET"]),
                Route("/{rest:path}", self._answering(_nothing)),
            ]
        )

    def _answering(self, handler: Callable[[Request, Query], Document]) -> Endpoint:
        """Make an endpoint that lets the caller in, answers in Graph's shape and remembers that it did."""

        async def serve(request: Request) -> Response:
            request_id = str(uuid.uuid4())
            ids = {"request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}
            seen = GraphRequest(self._directory.now(), request.url.path, 200)
            try:
                self._admit(request.headers.get("authorization", ""))
                document = handler(request, _query(request))
            except Refusal as refusal:
                self.requests.append(replace(seen, status=refusal.status))
                return self._refuse(refusal, ids)
            rows = document["value"]
            assert isinstance(rows, list)
            self.requests.append(replace(seen, rows=len(rows)))
            return JSONResponse(document, headers=ids | _applied(request))

        return serve

    def _admit(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(401, "InvalidAuthenticationToken", "Access token is empty.")
        claims = self._directory.verify(token, audience=GRAPH_ID, tenant_id=self._tenant_id)
        if claims is None:
            raise Refusal(
                401,
                "InvalidAuthenticationToken",
                "Access token validation failure: not signed by this Entra, not for Graph, not of this tenant or not "
                "valid now.",
            )
        roles = claims.get("roles")
        if not isinstance(roles, list) or ROLES.isdisjoint(roles):
            raise Refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")

    def _refuse(self, refusal: Refusal, ids: dict[str, str]) -> Response:
        headers = dict(ids)
        if refusal.status == 401:
            authority = f"{self._directory.authority}/common/oauth2/authorize"
            headers["WWW-Authenticate"] = f'Bearer realm="", authorization_uri="{authority}", client_id="{GRAPH_ID}"'
        if refusal.location:
            headers["Location"] = refusal.location
        date = dt.datetime.fromtimestamp(self._directory.now(), dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        inner = {"date": date, **ids}
        body = {"error": {"code": refusal.code, "message": refusal.message, "innerError": inner}}
        return JSONResponse(body, status_code=refusal.status, headers=headers)

    def _list(self, _request: Request, query: Query) -> Document:
        _only(query, {"$top", "$select", "$skiptoken"})
        if token := _token(query, "$skiptoken"):
            found = self._listings.find(token)
            if found is None:
                raise _bad_request("The skip token is not known.")
            listing = found.what
        else:
            active = tuple(person.id for person in self._people.tenant().values() if not person.removed)
            listing = Listing(_selected(query), _top(query), active)
        here, rest = listing.ids[: listing.top], listing.ids[listing.top :]
        document: Document = {
            "@odata.context": f"{self._url}/v1.0/$metadata#users",
            "value": [self._listed(user_id, listing.select) for user_id in here],
        }
        if rest:
            token = self._listings.issue(replace(listing, ids=rest), now=self._directory.now())
            document["@odata.nextLink"] = f"{self._url}/v1.0/users?$skiptoken={token}"
        return document

    def _listed(self, user_id: str, select: frozenset[str]) -> Row:
        """Describe a user as the plain list does, with null for what was never set."""
        person = self._people.find(user_id)
        properties = person.properties if person else {}
        return {"id": user_id} | {name: properties.get(name) for name in sorted(select - {MANAGER})}

    def _delta(self, request: Request, query: Query) -> Document:
        name: str = request.path_params["name"]
        if name.removesuffix("()") not in {"delta", "microsoft.graph.delta"}:
            raise _no_such_address()
        address = f"{self._url}{request.url.path}"
        _only(query, IGNORED_BY_DELTA | TOKENS | {"$select"})
        if query.keys() >= TOKENS:
            raise _bad_request("Both skiptoken and deltatoken can't be in the same request.")
        minimal = bool(_applied(request))
        if token := _token(query, "$skiptoken"):
            return self._page(self._good(self._places.find(token), address), address, minimal=minimal)
        if query.get("$deltatoken", "").lower() == LATEST:
            end = self._people.position
            return self._document(address, [], bookmark=Bookmark(_selected(query), end, end))
        if token := _token(query, "$deltatoken"):
            mark = self._good(self._bookmarks.find(token), address)
            start = mark.previous if self.repeats else mark.position
            begun = graph_delta.later_round(self._people, mark.select, position=start)
        else:
            begun = graph_delta.first_round(self._people, _selected(query))
        place = Place(self._arranged(begun), 0)
        if self.empty_pages:
            return self._document(address, [], place=place)
        return self._page(place, address, minimal=minimal)

    def _good[T: (Place, Bookmark)](self, found: Issued[T] | None, address: str) -> T:
        """Return what a token stands for.

        Raises:
            Refusal: it is unknown, or too old.
        """
        if found is None:
            raise _bad_request("The token is not one of this service, or was changed.")
        if self._directory.now() - found.time <= self.token_days * DAY:
            return found.what
        select = ",".join(sorted(found.what.select))
        location = f"{address}?$deltatoken=&$select={select}" if self.expired_status == 410 else None
        raise Refusal(self.expired_status, self.expired_code, "The sync state is not found; start again.", location)

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
        now = self._directory.now()
        if place:
            document["@odata.nextLink"] = f"{address}?$skiptoken={self._places.issue(place, now=now)}"
        if bookmark:
            document["@odata.deltaLink"] = f"{address}?$deltatoken={self._bookmarks.issue(bookmark, now=now)}"
        return document | {"value": rows}


def _nothing(_request: Request, _query: Query) -> Document:
    raise _no_such_address()


def _query(request: Request) -> Query:
    """Read the query options; their names are in any case.

    Raises:
        Refusal: one is repeated.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.lower() in found:
            raise _bad_request(f"Query option '{name}' was specified more than once.")
        found[name.lower()] = value
    return found


def _only(query: Query, known: frozenset[str] | set[str]) -> None:
    """Refuse what is not imitated here, rather than answer something else than Graph would."""
    if foreign := {name for name in query if name.startswith("$")} - known:
        raise _bad_request(f"The local Graph does not know {', '.join(sorted(foreign))}.")


def _token(query: Query, name: str) -> str:
    """Return a token, which carries every other option in itself; an empty delta token is none.

    Raises:
        Refusal: the request has other options beside it.
    """
    token = query.get(name, "")
    if name == "$skiptoken" and name in query and not token:
        raise _bad_request("The skip token is empty.")
    if token and (beside := {option for option in query if option.startswith("$")} - {name}):
        raise _bad_request(f"{', '.join(sorted(beside))} must not be repeated: the token carries it.")
    return token


def _selected(query: Query) -> frozenset[str]:
    if "$select" not in query:
        return DEFAULT_SELECT
    names = frozenset(name.strip() for name in query["$select"].split(","))
    if unknown := sorted(names - SELECTABLE):
        raise _bad_request(
            "Parsing OData Select and Expand failed: Could not find a property named "
            f"'{unknown[0]}' on type 'microsoft.graph.user'."
        )
    return names - {"id"}


def _top(query: Query) -> int:
    text = query.get("$top", str(USUAL_LIST_PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_ON_A_LIST_PAGE):
        raise _bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {MOST_ON_A_LIST_PAGE}.")
    return int(text)


def _applied(request: Request) -> dict[str, str]:
    """Tell which preference of RFC 7240 the answer follows."""
    wishes = {wish.strip().lower() for wish in request.headers.get("prefer", "").split(",")}
    return {"Preference-Applied": "return=minimal"} if "return=minimal" in wishes else {}


def _bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def _no_such_address() -> Refusal:
    return Refusal(404, "ResourceNotFound", "The local Graph has nothing at this address.")
