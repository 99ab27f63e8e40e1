"""The checkpoint of a stream: where its sync is, and which run may move it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.core.directory.delta import LinkKind, Page
from shared.core.directory.streams import Stream
from shared.core.directory.waits import left


class LeaseHeld(Exception):
    """Another run holds the lease of the stream, so this run may not begin."""


class LeaseLost(Exception):
    """Another run has taken the stream over, so this run may store nothing more."""


class LossChanged(Exception):
    """The loss that an administrator accepts is not held back, or not with this number."""

    def __init__(self, held: Mapping[str, int]) -> None:
        super().__init__()
        self.held = held
        """The losses held back now: how many, by their kind."""


RESTARTS = 3
"""After so many copies running that came no further than the one before, the stream fails."""
IDLE_PAGES = 50
"""After so many pages running that bring no news to the attempt, of objects or relationships, Graph repeats itself."""
EMPTY_PAGES = 1_000
"""After so many pages running without any object; many are normal, also at the start."""
DOUBT_SECONDS = 60.0
"""A link that Graph still refuses so long after the first time is dead."""
BIN_SECONDS = 86_400.0
"""How often the recycle bin is looked into."""
BIN_DAYS = 30
"""How long Entra keeps an object in the recycle bin; after that its columns are erased here too."""
STUCK_SECONDS = 3_600.0
"""How long a stream that failed waits before its next copy."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60.0, 3_600.0
"""How long the timer leaves a stream alone after its first failure, and after many: each doubles the pause."""


def pause_after(failures: int, *, chance: float) -> float:
    """Return how many seconds the timer waits after so many failures in a row.

    Args:
        failures: their number, from 1.
        chance: from 0 to 1; it moves the pause by a fifth, so that streams do not keep in step.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_SECONDS)
    return pause * (0.8 + 0.4 * chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How an attempt goes.

    Args:
        objects: the number of objects that this attempt has seen.
        most_objects: the highest such number of the attempts since the last complete round of changes.
        restarts: the number of copies running that began because the attempt before came no further than others.
        idle_pages: the number of pages running that brought no news to this attempt; empty ones apart.
        empty_pages: the number of pages running without any object.
        refused_at: when Graph first refused the link, in seconds since the epoch.
        retry_at: before when Graph is not asked, in seconds since the epoch.
        failures: the number of runs that failed since the last page.
        again_at: before when the timer leaves the stream alone, in seconds since the epoch; an operator may run it.
        error: why the last run failed, in words that any caller may read; None after a page.
    """

    objects: int = 0
    most_objects: int = 0
    restarts: int = 0
    idle_pages: int = 0
    empty_pages: int = 0
    refused_at: float | None = None
    retry_at: float | None = None
    failures: int = 0
    again_at: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A complete copy, whose sweep takes away what it left out.

    Args:
        tenant_id: the tenant.
        stream: the stream of that tenant.
        generation: the number of the copy. What has this number or a higher one was seen by it, or later.
        held: the kinds of which the first sweep held back a loss. They stay so until that loss is accepted.
        accepted: the loss that an administrator believes: its kind and its number.
    """

    tenant_id: str
    stream: Stream
    generation: int
    held: frozenset[str] = frozenset()
    accepted: tuple[str, int] | None = None

    def holds(self, kind: str, lost: int, *, is_doubtful: bool) -> bool:
        """Return whether a loss is held back.

        Args:
            kind: what is lost.
            lost: how many.
            is_doubtful: whether so much is not believed without an administrator.
        """
        return lost > 0 and (is_doubtful or kind in self.held) and self.accepted != (kind, lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a run is in its stream. A method returns the checkpoint behind one step; a store saves it.

    An attempt is a copy, from its first link to a delta link, or a round of changes.

    Args:
        tenant_id: the tenant whose directory is copied.
        stream: the stream of that tenant.
        root: the root of Graph.
        link: the link to read next.
        page: the number of moves of the checkpoint so far.
        fence: the number of this run. A later run of the stream has a higher one.
        generation: the number of this attempt. A later attempt of the stream has a higher one.
        is_copying: a copy is under way; otherwise the link leads to changes.
        bin_judged_at: when the recycle bin was looked into last, or the first copy was complete.
        progress: how the attempt goes.
    """

    tenant_id: str
    stream: Stream
    root: str
    link: str = field(repr=False)
    page: int
    fence: int
    generation: int
    is_copying: bool
    bin_judged_at: float | None = None
    progress: Progress = Progress()

    @property
    def is_first_link(self) -> bool:
        """Whether the link is not one of Graph's: if it is refused, a new copy would begin with the same one."""
        return self.link == self.stream.first_link(self.root)

    @property
    def copy(self) -> Copy:
        """The copy that ends with this attempt."""
        return Copy(tenant_id=self.tenant_id, stream=self.stream, generation=self.generation)

    @property
    def repeats_itself(self) -> bool:
        """Whether Graph sends page after page without anything new."""
        return self.progress.idle_pages >= IDLE_PAGES or self.progress.empty_pages >= EMPTY_PAGES

    def behind(self, page: Page, *, new_objects: int, now: float) -> "Checkpoint":
        """Return the checkpoint behind a page. A delta link ends the attempt, and the next one begins.

        Args:
            page: the page.
            new_objects: the number of its objects and relationships that are news to this attempt.
            now: seconds since the epoch.
        """
        was = self.progress
        objects = was.objects + new_objects
        if page.kind is LinkKind.DELTA:
            progress = Progress(restarts=was.restarts, most_objects=max(was.most_objects, objects))
            return replace(
                self,
                link=page.link,
                page=self.page + 1,
                generation=self.generation + 1,
                is_copying=False,
                bin_judged_at=now if self.bin_judged_at is None else self.bin_judged_at,
                progress=progress if self.is_copying else Progress(),
            )
        progress = replace(
            was,
            objects=objects,
            idle_pages=0 if new_objects else was.idle_pages + bool(page.changes),
            empty_pages=0 if page.changes else was.empty_pages + 1,
            refused_at=None,
            retry_at=None,
            failures=0,
            again_at=None,
            error=None,
        )
        return replace(self, link=page.link, page=self.page + 1, progress=progress)

    def anew(self) -> "Checkpoint":
        """Return the checkpoint of a new copy."""
        return replace(
            self,
            link=self.stream.first_link(self.root),
            page=self.page + 1,
            generation=self.generation + 1,
            is_copying=True,
            progress=Progress(),
        )

    def restarted(self, *, now: float) -> "Checkpoint":
        """Return the checkpoint of a new copy that begins because this attempt came to a dead end."""
        was = self.progress
        restarts = 0 if was.objects > was.most_objects else was.restarts + 1
        is_over = self.repeats_itself or restarts >= RESTARTS
        progress = Progress(
            most_objects=max(was.most_objects, was.objects),
            restarts=restarts,
            retry_at=now + STUCK_SECONDS if is_over else None,
        )
        return replace(self.anew(), progress=progress)

    def doubted(self, *, now: float) -> "Checkpoint":
        """Return the checkpoint after a refusal that may be the link's fault."""
        first = self.progress.refused_at
        # One in the future was written under a wrong clock.
        return self._with(replace(self.progress, refused_at=now if first is None else min(first, now)))

    def is_dead(self, *, now: float) -> bool:
        """Return whether a link that Graph refuses again is dead."""
        refused_at = self.progress.refused_at
        return refused_at is not None and now - refused_at >= DOUBT_SECONDS

    def is_bin_due(self, *, now: float) -> bool:
        """Return whether it is time to look into the recycle bin: between two rounds, and once a day."""
        # In the future too: a wrong clock wrote that.
        return not self.is_copying and self.bin_judged_at is not None and abs(now - self.bin_judged_at) >= BIN_SECONDS

    def bin_judged(self, *, now: float) -> "Checkpoint":
        """Return the checkpoint after a look into the recycle bin."""
        return replace(self, page=self.page + 1, bin_judged_at=now)

    def stepped(self) -> "Checkpoint":
        """Return the checkpoint after a step that leaves the link: a loss was accepted, or a part of the bin judged."""
        return replace(self, page=self.page + 1)

    def waiting(self, *, until: float) -> "Checkpoint":
        """Return the checkpoint after Graph has named a wait."""
        return self._with(replace(self.progress, retry_at=until))

    def wait(self, *, now: float) -> float:
        """Return for how many seconds Graph is not asked; 0 if it may be."""
        return left(self.progress.retry_at, now=now)

    def failed(self, error: str, *, chance: float, now: float) -> "Checkpoint":
        """Return the checkpoint after a run that failed. Where Graph named no wait, the pauses grow.

        Args:
            error: why, in words that any caller may read.
            chance: as in `pause_after`.
            now: seconds since the epoch.
        """
        failures = self.progress.failures + 1
        again_at = now + pause_after(failures, chance=chance)
        return self._with(replace(self.progress, failures=failures, again_at=again_at, error=error))

    def _with(self, progress: Progress) -> "Checkpoint":
        return replace(self, page=self.page + 1, progress=progress)


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a page.

    Args:
        checkpoint: where the run is now.
        rows: the number of rows that were written.
        held: the losses of a complete copy that are not believed: how many, by their kind. None after a page that ends
            no copy: what was held back before it still is.
    """

    checkpoint: Checkpoint
    rows: int
    held: Mapping[str, int] | None = None
