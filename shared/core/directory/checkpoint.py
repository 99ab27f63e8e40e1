"""The checkpoint of a stream: where its sync is, and which run may move it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.core.directory.delta import LinkKind
from shared.core.directory.streams import Stream


class LeaseHeld(Exception):
    """Another run holds the lease of the stream, so this run may not begin."""


class LeaseLost(Exception):
    """Another run has taken the stream over, so this run may store nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a run is in its stream.

    An attempt is a copy, from its first link to a delta link, or a round of changes.

    Args:
        tenant_id: the tenant whose directory is copied.
        stream: the stream of that tenant.
        link: the link to read next.
        page: the number of moves of the checkpoint so far.
        fence: the number of this run. A later run of the stream has a higher one.
        generation: the number of this attempt. A later attempt of the stream has a higher one.
        is_copying: a copy is under way; otherwise the link leads to changes.
    """

    tenant_id: str
    stream: Stream
    link: str = field(repr=False)
    page: int
    fence: int
    generation: int
    is_copying: bool

    def behind(self, link: str, kind: LinkKind) -> "Checkpoint":
        """Return the checkpoint behind a page with a link. A delta link ends the attempt, and the next one begins."""
        if kind is LinkKind.NEXT:
            return replace(self, link=link, page=self.page + 1)
        return replace(self, link=link, page=self.page + 1, generation=self.generation + 1, is_copying=False)

    def anew(self, root: str) -> "Checkpoint":
        """Return the checkpoint of a new copy."""
        return replace(
            self,
            link=self.stream.first_link(root),
            page=self.page + 1,
            generation=self.generation + 1,
            is_copying=True,
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a page.

    Args:
        checkpoint: where the run is now.
        rows: the number of rows that were written.
        held: the losses of a complete copy that are not believed: how many, by their kind.
    """

    checkpoint: Checkpoint
    rows: int
    held: Mapping[str, int] = field(default_factory=dict)
