"""The checkpoint of a stream: where its sync is, and which run may move it."""

from dataclasses import dataclass, field

from shared.core.directory.streams import Stream


class LeaseHeld(Exception):
    """Another run holds the lease of the stream, so this run may not begin."""


class LeaseLost(Exception):
    """Another run has taken the stream over, so this run may store nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a run is in its stream.

    Args:
        tenant_id: the tenant whose directory is copied.
        stream: the stream of that tenant.
        link: the link to read next.
        page: the number of moves of the checkpoint so far: a stored page, or the start of a copy.
        fence: the number of this run. A later run of the stream has a higher one.
        generation: the number of copies that were started.
        is_copying: a copy is under way; otherwise the link leads to changes.
    """

    tenant_id: str
    stream: Stream
    link: str = field(repr=False)
    page: int
    fence: int
    generation: int
    is_copying: bool
