"""Delta query: the pages of a round, and the links between them.

Source: https://learn.microsoft.com/graph/delta-query-overview, https://learn.microsoft.com/graph/api/group-delta
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from emulator.directory.directory_object import State
from emulator.directory.kinds import GROUPS, Kind
from emulator.directory.object_store import ObjectStore
from emulator.graph.errors import bad_request
from emulator.graph.query import Query, Selection, refuse_others, selected, token_of
from emulator.graph.rounds import Round, first_round, is_told, later_round
from emulator.graph.rows import Link, Reading, Row, links, row
from emulator.graph.switches import MOST_ON_A_PAGE, Switches, TokenRefusal
from emulator.graph.tokens import Issued, Tokens

LATEST = "latest"
IGNORED = frozenset({"$top", "$orderby", "$expand"})
TOKENS = frozenset({"$skiptoken", "$deltatoken"})

type Document = dict[str, object]


@dataclass(frozen=True)
class Place:
    """The meaning of a skip token: where the next page of a round begins.

    Args:
        offset: among the ids of the round.
        links: of the object at the offset, as they were on its first page; None: the object was on no page yet.
        shown: how many of the links were on earlier pages.
        number: of the page.
        empty: how many empty pages come before it.
    """

    round: Round
    offset: int = 0
    links: tuple[Link, ...] | None = None
    shown: int = 0
    number: int = 0
    empty: int = 0

    @property
    def objects(self) -> ObjectStore:
        """The objects of the tenant."""
        return self.round.objects

    @property
    def kind(self) -> Kind:
        """The kind of the objects."""
        return self.round.kind

    @property
    def selection(self) -> Selection:
        """The selection of properties of the round."""
        return self.round.selection


@dataclass(frozen=True)
class Bookmark:
    """The meaning of a delta token: after which change the next round begins, and after which the last one did."""

    objects: ObjectStore
    kind: Kind
    selection: Selection
    position: int
    previous: int


class DeltaQuery:
    """Answers the requests of one Graph.

    Args:
        url: of Graph.
        switches: of delta query.
        now: the clock of the cloud.
    """

    def __init__(self, *, url: str, switches: Switches, now: Callable[[], float]) -> None:
        self._url = url
        self._switches = switches
        self._now = now
        self._places = Tokens[Place]()
        self._bookmarks = Tokens[Bookmark]()

    def revoke_tokens(self) -> None:
        """Refuse every link that was issued until now."""
        self._places.revoke()
        self._bookmarks.revoke()

    def answer(self, path: str, query: Query, *, kind: Kind, objects: ObjectStore, reading: Reading) -> Document:
        """Return a page.

        Args:
            path: of the request.
            query: of the request.
            kind: of the objects.
            objects: of the caller's tenant.
            reading: how the caller reads.

        Raises:
            Refusal: the query is wrong, or its token is not good.
        """
        refuse_others(query, IGNORED | TOKENS | {"$select"})
        if query.keys() >= TOKENS:
            raise bad_request("Both skiptoken and deltatoken can't be in the same request.")
        address = f"{self._switches.link_root or self._url}{path}"
        with objects.lock:
            if token := token_of(query, "$skiptoken"):
                place = _of(kind, objects, self._places.find(token))
                switches = self._switches
                life = switches.page_token_seconds
                if switches.refused_next_links:
                    switches.refused_next_links -= 1
                    life = -1.0
                self._check(place, address, life=life, refusal=switches.page_refusal)
                return self._page(place.what, address, reading)
            return self._begin(address, query, kind, objects, reading)

    def _begin(self, address: str, query: Query, kind: Kind, objects: ObjectStore, reading: Reading) -> Document:
        switches, now = self._switches, self._now()
        if query.get("$deltatoken", "").lower() == LATEST:
            end = objects.log.position
            mark = Bookmark(objects, kind, self._selected(query, kind), end, end)
            return self._document(kind, [], address, bookmark=mark)
        if token := token_of(query, "$deltatoken"):
            issued = _of(kind, objects, self._bookmarks.find(token))
            self._check(issued, address, life=switches.delta_token_seconds, refusal=switches.delta_refusal)
            mark = issued.what
            start = mark.previous if switches.repeats else mark.position
            begun = later_round(objects, kind, mark.selection, start=start, switches=switches, now=now)
        else:
            begun = first_round(objects, kind, self._selected(query, kind), switches=switches, now=now)
        return self._page(Place(begun, empty=switches.empty_pages_first), address, reading)

    def _selected(self, query: Query, kind: Kind) -> Selection:
        selection = selected(query, kind, tracked=True)
        if self._switches.expand_selects and "$expand" in query:
            expanded = {name.strip() for name in query["$expand"].split(",")} & kind.relations
            return replace(selection, names=selection.names | expanded)
        return selection

    def _check(
        self, issued: Issued[Place] | Issued[Bookmark], address: str, *, life: float, refusal: TokenRefusal
    ) -> None:
        """Raise for a token that is not good any more."""
        if issued.revoked or self._now() - issued.time > life:
            selection = issued.what.selection
            select = f"&$select={','.join(sorted(selection.names))}" if selection.is_explicit else ""
            raise refusal.at(f"{address}?$deltatoken={select}")

    def _page(self, place: Place, address: str, reading: Reading) -> Document:
        told, switches = place.round, self._switches
        if place.empty:
            return self._document(told.kind, [], address, place=replace(place, empty=place.empty - 1))
        rows, following = self._rows(place, reading)
        if switches.same_page_for_ever:
            return self._document(told.kind, rows, address, place=place)
        if following:
            following = replace(following, empty=switches.empty_pages_between)
            return self._document(told.kind, rows, address, place=following)
        previous = told.end if told.start is None else told.start
        mark = Bookmark(told.objects, told.kind, told.selection, told.end, previous)
        return self._document(told.kind, rows, address, bookmark=mark)

    def _rows(self, place: Place, reading: Reading) -> tuple[list[Row], Place | None]:
        """Return the rows of a page, and where the next one begins if the round has more."""
        told, switches = place.round, self._switches
        most, room = self._page_size(place), switches.links_per_page
        rows: list[Row] = []
        held, shown = place.links, place.shown
        for offset in range(place.offset, len(told.ids)):
            object_id = told.ids[offset]
            if is_told(told, object_id, switches):
                if len(rows) >= most or (room <= 0 and rows):
                    return rows, Place(told, offset, held, shown, place.number + 1)
                found = told.objects.find(object_id)
                assert found
                if held is None or found.state is not State.ACTIVE:
                    held, shown = links(told, found, reading=reading, switches=switches), 0
                end = shown + room
                rows.append(row(told, found, held[shown:end], reading=reading, switches=switches))
                if end < len(held):
                    return rows, Place(told, offset, held, end, place.number + 1)
                room -= len(held) - shown
            held, shown = None, 0
        return rows, None

    def _page_size(self, place: Place) -> int:
        size = min(self._switches.page_size, MOST_ON_A_PAGE)
        if place.round.kind is GROUPS:
            sizes = self._switches.group_page_sizes
            return min(size, sizes[place.number % len(sizes)])
        return size

    def _document(
        self,
        kind: Kind,
        rows: list[Row],
        address: str,
        *,
        place: Place | None = None,
        bookmark: Bookmark | None = None,
    ) -> Document:
        document: Document = {"@odata.context": f"{self._url}/v1.0/$metadata#{kind.name}(delta)"}
        now = self._now()
        if place:
            document["@odata.nextLink"] = f"{address}?$skiptoken={self._places.issue(place, now=now)}"
        if bookmark:
            document["@odata.deltaLink"] = f"{address}?$deltatoken={self._bookmarks.issue(bookmark, now=now)}"
        return document | {"value": rows}


def _of[T: (Place, Bookmark)](kind: Kind, objects: ObjectStore, issued: Issued[T] | None) -> Issued[T]:
    """Return a token that is one of this kind and tenant, or raise."""
    if issued is None or issued.what.kind is not kind or issued.what.objects is not objects:
        raise bad_request("The token is not one of this service, or was changed.")
    return issued
