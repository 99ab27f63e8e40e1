"""The store of the directory, as the sync needs it."""

from collections.abc import Sequence
from typing import Protocol

from shared.core.directory.checkpoint import Checkpoint, Stored
from shared.core.directory.credentials import Ending
from shared.core.directory.delta import Change, Page
from shared.core.directory.standing import StreamStanding
from shared.core.directory.streams import Stream


class DirectoryStore(Protocol):
    """Holds the rows and the checkpoint of each stream; every call blocks."""

    def begin(self, stream: Stream, *, tenant_id: str, root: str, now: float, resync: bool = False) -> Checkpoint:
        """Take the lease of a stream and return its checkpoint; that of a new copy for a resync."""

    def standings(self) -> Sequence[StreamStanding]:
        """Return where each stream is."""

    def move(self, old: Checkpoint, new: Checkpoint, *, now: float) -> Checkpoint:
        """Move the checkpoint without a page; return the new one."""

    def commit(self, checkpoint: Checkpoint, page: Page, *, now: float) -> Stored:
        """Store a page and the link behind it."""

    def accept(self, checkpoint: Checkpoint, loss: tuple[str, int], *, now: float) -> Stored:
        """Take away a loss that is held back; raise `LossChanged` if it is another one by now."""

    def uncertain(self, checkpoint: Checkpoint) -> Sequence[str]:
        """Return the ids of the objects of a stream that lie in the recycle bin, or that only relationships name."""

    def settle(
        self, checkpoint: Checkpoint, changes: Sequence[Change], *, is_last: bool = True, now: float
    ) -> Checkpoint:
        """Store what became of some objects in the recycle bin, and erase what lay there too long."""

    def ending(self, checkpoint: Checkpoint, *, now: float) -> Sequence[Ending]:
        """Return the credentials of a stream whose end is to be told."""

    def told(self, checkpoint: Checkpoint, told: Sequence[Ending], *, now: float) -> Checkpoint:
        """Note which ends were told."""

    def release(self, checkpoint: Checkpoint) -> None:
        """Free the lease."""
