"""The recycle bin: what became of the objects that lie in it, and of those that only relationships name.

With `$select` Graph may not tell that an object was restored, and it may forget to tell that one is gone for good. No
round tells what was deleted before the first copy. So once a day both lists are asked for. An object that one of them
lacks may be in the other; one that both lack is gone.
"""

from collections.abc import Collection
from itertools import batched
from typing import Protocol

from shared.core.directory.delta import Change, ObjectState, read_list
from shared.core.directory.streams import Stream

_IDS_IN_A_FILTER = 15
"""https://learn.microsoft.com/graph/filter-query-parameter: `in` takes 15 values."""


class Lists(Protocol):
    """Reads pages from Graph."""

    async def page(self, link: str) -> bytes:
        """Return the body of the page that a link leads to."""


async def judge(graph: Lists, stream: Stream, *, root: str, ids: Collection[str]) -> list[Change]:
    """Return what became of objects that lie in the recycle bin as far as the store knows, or that are stubs.

    An object that was restored between the two questions is asked for again before it counts as gone.

    Raises:
        UpstreamError: Graph, or Entra, is not available, or refuses a question; so nothing is known.
    """
    active = await _active(graph, stream, root, ids)
    missing = {*ids} - active.keys()
    deleted = missing & (await _read(graph, stream, root, stream.bin_link(root))).keys() if missing else set[str]()
    active |= await _active(graph, stream, root, missing - deleted)
    purged = missing - deleted - active.keys()
    removed = [*((oid, ObjectState.DELETED) for oid in deleted), *((oid, ObjectState.PURGED) for oid in purged)]
    return [*active.values(), *(Change(oid, state) for oid, state in sorted(removed))]


async def _active(graph: Lists, stream: Stream, root: str, ids: Collection[str]) -> dict[str, Change]:
    found = dict[str, Change]()
    for some in batched(sorted(ids), _IDS_IN_A_FILTER, strict=False):
        found |= await _read(graph, stream, root, stream.objects_link(root, some))
    return {oid: change for oid, change in found.items() if oid in ids}


async def _read(graph: Lists, stream: Stream, root: str, link: str) -> dict[str, Change]:
    """Return the objects of a list to its end, by their ids."""
    found, links = dict[str, Change](), set[str]()
    while link and link not in links:
        links.add(link)
        changes, link = read_list(await graph.page(link), stream, root=root)
        found |= {change.id: change for change in changes}
    return found
