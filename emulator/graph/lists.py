"""Plain reads of directory objects: lists, a filter by ids, and the recycle bin.

Source: https://learn.microsoft.com/graph/api/user-list, https://learn.microsoft.com/graph/api/directory-deleteditems-list
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from emulator.directory.directory_object import DirectoryObject, State
from emulator.directory.kinds import Kind
from emulator.directory.object_store import ObjectStore
from emulator.graph.errors import bad_request
from emulator.graph.query import Query, Selection, filtered_ids, list_page_size, refuse_others, selected, token_of
from emulator.graph.rows import Row
from emulator.graph.tokens import Tokens

OPTIONS = frozenset({"$top", "$select", "$skiptoken", "$filter"})

type Document = dict[str, object]


@dataclass(frozen=True)
class Listing:
    """The meaning of a list's skip token.

    Args:
        ids: which objects are listed; None: those of the kind, in the order of their creation.
        offset: of the next page among them.
    """

    objects: ObjectStore
    kind: Kind
    state: State
    selection: Selection
    top: int
    ids: tuple[str, ...] | None
    offset: int = 0


class Lists:
    """Answers the requests of one Graph.

    Args:
        url: of Graph.
        now: the clock of the cloud.
    """

    def __init__(self, *, url: str, now: Callable[[], float]) -> None:
        self._url = url
        self._now = now
        self._listings = Tokens[Listing]()

    def answer(self, path: str, query: Query, *, kind: Kind, objects: ObjectStore, state: State) -> Document:
        """Return a page of the objects of a kind that are in a state.

        Raises:
            Refusal: the query is wrong, or its token is not one of this list.
        """
        refuse_others(query, OPTIONS if state is State.ACTIVE else OPTIONS - {"$filter"})
        if token := token_of(query, "$skiptoken"):
            issued = self._listings.find(token)
            if issued is None or (issued.what.objects, issued.what.kind, issued.what.state) != (objects, kind, state):
                raise bad_request("The skip token is not known.")
            listing = issued.what
        else:
            selection, top = selected(query, kind, tracked=False), list_page_size(query)
            listing = Listing(objects, kind, state, selection, top, filtered_ids(query))
        with objects.lock:
            here = list(_from(listing))
        document: Document = {
            "@odata.context": f"{self._url}/v1.0/$metadata#{path.removeprefix('/v1.0/')}",
            "value": [_row(found, listing.selection) for _, found in here[: listing.top]],
        }
        if len(here) > listing.top:
            token = self._listings.issue(replace(listing, offset=here[-1][0]), now=self._now())
            document["@odata.nextLink"] = f"{self._url}{path}?$skiptoken={token}"
        return document


def _from(listing: Listing) -> Iterator[tuple[int, DirectoryObject]]:
    """List a page and one object more, each with its offset."""
    ids = listing.objects.ids(listing.kind) if listing.ids is None else listing.ids
    left = listing.top + 1
    for offset in range(listing.offset, len(ids)):
        found = listing.objects.find(ids[offset])
        if found and found.kind is listing.kind and found.state is listing.state:
            yield offset, found
            left -= 1
            if not left:
                return


def _row(found: DirectoryObject, selection: Selection) -> Row:
    """Return an object as a list has it, with null for properties that were never set."""
    shown: Row = {"@odata.type": f"#microsoft.graph.{found.type}"} if found.type != found.kind.type else {}
    names = sorted(selection.names - found.kind.relations)
    return shown | {"id": found.id} | {name: found.properties.get(name) for name in names}
