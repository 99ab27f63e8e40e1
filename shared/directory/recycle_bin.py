"""The recycle bin: what became of the objects that lie in it, and of those that only relationships name.

With `$select` Graph may not tell that an object was restored, and it may forget to tell that one is gone for good. No
round tells what was deleted before the first copy. So once a day the list of the bin is asked for, and for what is not
in it the list of active objects. An object that both lack is gone.

A full bin takes more than one run. Its list has many objects on a page, the other list 15. What the second one finds is
stored part by part, and is not asked for again: it is active, or gone.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from itertools import batched
from typing import Protocol

from shared.core.directory.delta import Change, ObjectState, read_list
from shared.core.directory.streams import Stream

_PART = 1_500
"""How many objects are judged at once: a hundred requests, which a run has the time for."""
_IDS_IN_A_FILTER = 15
"""https://learn.microsoft.com/graph/filter-query-parameter: `in` takes 15 values."""


class Lists(Protocol):
    """Reads pages from Graph."""

    async def page(self, link: str) -> bytes:
        """Return the body of the page that a link leads to."""


async def judge(
    graph: Lists, stream: Stream, *, root: str, ids: Collection[str]
) -> AsyncIterator[tuple[Sequence[Change], bool]]:
    """Yield what became of objects that lie in the recycle bin as far as the store knows, or that are stubs.

    Yields:
        Changes of a part of the objects, and whether it is the last part.

    Raises:
        UpstreamError: Graph, or Entra, is not available, or refuses a question; of the other parts nothing is known.
    """
    deleted = await _deleted(graph, stream, root, ids)
    parts = [*batched(sorted({*ids} - deleted), _PART, strict=False)]
    yield _changes(deleted, ObjectState.DELETED), not parts
    for number, part in enumerate(parts, 1):
        yield await _judge(graph, stream, root, part), number == len(parts)


async def _judge(graph: Lists, stream: Stream, root: str, ids: Collection[str]) -> Sequence[Change]:
    """Return what became of objects that were not in the bin a moment ago.

    One that moved between the lists meanwhile is found where it is now: it must not count as gone.
    """
    active = await _active(graph, stream, root, ids)
    missing = {*ids} - active.keys()
    deleted = await _deleted(graph, stream, root, missing)
    active |= await _active(graph, stream, root, missing - deleted)
    gone = missing - deleted - active.keys()
    return [*active.values(), *_changes(deleted, ObjectState.DELETED), *_changes(gone, ObjectState.PURGED)]


def _changes(ids: Collection[str], state: ObjectState) -> Sequence[Change]:
    return [Change(oid, state) for oid in sorted(ids)]


async def _deleted(graph: Lists, stream: Stream, root: str, ids: Collection[str]) -> set[str]:
    """Return which objects lie in the bin."""
    return {*ids} & (await _read(graph, stream, root, stream.bin_link(root))).keys() if ids else set()


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
