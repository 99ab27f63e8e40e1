"""The report of one run about one stream, and its events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypedDict

from shared.core.directory.checkpoint import Checkpoint, Stored
from shared.core.directory.credentials import Ending
from shared.core.directory.delta import LinkKind, Mended, Page, together
from shared.core.errors import UpstreamError
from shared.directory.graph import PermissionMissing
from shared.telemetry import catalogue
from shared.telemetry.event import Event

type Outcome = Literal["complete", "to be continued", "failed", "skipped", "busy"]
"""How a run ended for one stream. `busy`: another run has the lease."""

MOST_OBJECTS = 10
"""How many objects with a credential that ends soon one event names."""


class Names(TypedDict):
    """Which stream an event is about."""

    stream: str
    tenant_id: str


@dataclass(slots=True)
class Report:
    """The result of one run for one stream, as far as it came.

    Args:
        names: which stream it is.
        permission: the permission that the stream needs.
        phase: a copy, or the changes since the last round.
        outcome: how the run ended.
        cause: why it did not end well, in words that any caller may read.
        waiting_seconds: how long Graph wants to be left alone.
        pages: the number of pages that were stored.
        changes: the number of changes on them.
        rows: the number of rows that were written.
        held: the losses of a complete copy that are not believed: how many, by their kind.
        mended: by the property, the values that were stored in another form.
    """

    names: Names
    permission: str
    phase: Literal["copy", "delta"] | None = None
    outcome: Outcome = "to be continued"
    cause: str | None = None
    waiting_seconds: float = 0.0
    pages: int = 0
    changes: int = 0
    rows: int = 0
    held: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, Mended] = field(default_factory=dict)
    _failure: UpstreamError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the run has read all that there was."""
        return self.outcome == "complete"

    def stands(self, checkpoint: Checkpoint, *, now: float) -> None:
        """Note where the run is; `now` is in seconds since the epoch."""
        self.phase = "copy" if checkpoint.is_copying else "delta"
        self.waiting_seconds = checkpoint.wait(now=now)

    def skipped(self, cause: str, *, outcome: Literal["skipped", "busy"] = "skipped") -> None:
        """Note that this run could not begin, or had to stop."""
        self.outcome, self.cause = outcome, cause

    def failed(self, failure: UpstreamError) -> None:
        """Note that the run failed."""
        self.outcome, self.cause, self._failure = "failed", failure.public_cause, failure

    def add(self, page: Page, stored: Stored) -> None:
        """Count a page that was stored."""
        self.pages += 1
        self.changes += len(page.changes)
        self.outcome = "complete" if page.kind is LinkKind.DELTA else "to be continued"
        self.mended = together(self.mended, page.mended)
        self.count(stored)

    def count(self, stored: Stored) -> None:
        """Count the rows of a step, and note what it holds back."""
        self.rows += stored.rows
        self.held = self.held if stored.held is None else stored.held

    def findings(self) -> Iterator[Event]:
        """Return an event for each thing that somebody should look at."""
        for kind, number in self.held.items():
            yield catalogue.SyncHeld(**self.names, kind=kind, number=number)
        for name, mended in self.mended.items():
            yield catalogue.SyncMended(**self.names, property=name, number=mended.number, object_id=mended.object_id)

    def remedy(self, failure: UpstreamError) -> str | None:
        """Return what an operator should do about a failure, where anything is known."""
        if isinstance(failure, PermissionMissing):
            return f"give the registration of the profile {self.permission}, with an administrator's consent"
        return failure.remedy

    def bin_unread(self, failure: UpstreamError) -> Event:
        """Return the event that says why the recycle bin could not be read."""
        return catalogue.SyncBinUnread(
            **self.names, cause=failure.cause, remedy=self.remedy(failure), trace_id=failure.trace_id
        )

    def ending(self, *, seconds: float) -> Event:
        """Return the event that says how the run ended, after so many seconds."""
        if failure := self._failure:
            return catalogue.SyncFailed(
                **self.names, cause=failure.cause, remedy=self.remedy(failure), trace_id=failure.trace_id
            )
        if self.outcome in {"complete", "to be continued"}:
            return catalogue.SyncFinished(
                **self.names,
                outcome="complete" if self.is_complete else "to be continued",
                pages=self.pages,
                changes=self.changes,
                rows=self.rows,
                latency_ms=round(seconds * 1000),
            )
        return catalogue.SyncSkipped(**self.names, cause=self.cause or "")


def ends(names: Names, ending: Sequence[Ending]) -> Event:
    """Return the event about credentials that end soon, of which there is one; the earliest end stands first."""
    objects = dict.fromkeys(each.object_id for each in ending)
    return catalogue.DirectoryCredentialEnds(
        **names,
        number=len(ending),
        days=min(each.days for each in ending),
        first_end=f"{datetime.fromtimestamp(ending[0].ends_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        object_ids=list(objects)[:MOST_OBJECTS],
    )
