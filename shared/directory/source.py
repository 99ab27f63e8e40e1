"""The tenants and streams that are copied, and those that a run is about."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.core.directory.order import Order
from shared.core.directory.standing import StreamStanding
from shared.core.directory.streams import Stream
from shared.directory.report import Names


class Pages(Protocol):
    """Reads pages from Graph."""

    async def page(self, link: str) -> bytes:
        """Return the body of the page that a link leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySource:
    """The streams of one tenant, and the Graph that they are copied from.

    Args:
        tenant_id: the tenant.
        root: the root of Graph.
        streams: the streams to copy.
        graph: reads pages of this tenant.
    """

    tenant_id: str
    root: str
    streams: tuple[Stream, ...]
    graph: Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A stream of a tenant that a run is about."""

    source: DirectorySource
    stream: Stream

    @property
    def names(self) -> Names:
        """How events call it."""
        return Names(stream=self.stream.name, tenant_id=self.source.tenant_id)


def ordered(sources: Sequence[DirectorySource], order: Order | None = None) -> list[Wanted]:
    """Return what an administrator asks for; everything without an order."""
    return [each for each in _every(sources) if order is None or order.stream in {None, each.stream.name}]


def due(
    sources: Sequence[DirectorySource], standings: Sequence[StreamStanding], *, interval: float, now: float
) -> list[Wanted]:
    """Return what the timer should run.

    Args:
        sources: what is copied.
        standings: where each stream is, as far as the store knows.
        interval: seconds between two rounds of a stream.
        now: seconds since the epoch.
    """
    known = {(found.tenant_id, found.stream): found for found in standings}
    return [
        each
        for each in _every(sources)
        if (standing := known.get((each.source.tenant_id, each.stream.name))) is None
        or standing.is_due(fingerprint=each.stream.fingerprint(each.source.root), interval=interval, now=now)
    ]


def _every(sources: Sequence[DirectorySource]) -> Iterator[Wanted]:
    return (Wanted(source=source, stream=stream) for source in sources for stream in source.streams)
