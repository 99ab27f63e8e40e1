"""The events of the directory sync."""

from typing import Annotated, Literal

from shared.telemetry.catalogue.fields import Cause, Milliseconds, Stream, TenantId
from shared.telemetry.event import About, Doc, Event, Feed, declared
from shared.telemetry.instruments import CHANGES, RUNS


@declared
class SyncFinished(Event):
    """A run of the sync has ended well for one stream."""

    about = About(
        "sync_finished",
        feeds=(Feed(RUNS, by=("stream", "outcome")), Feed(CHANGES, by=("stream",), amount="changes")),
    )

    stream: Stream
    tenant_id: TenantId
    outcome: Annotated[
        Literal["complete", "to be continued"], Doc("whether everything was read, or the next run goes on")
    ]
    pages: Annotated[int, Doc("pages that were stored", {"minimum": 0})]
    changes: Annotated[int, Doc("changes in these pages", {"minimum": 0})]
    rows: Annotated[int, Doc("rows that were written", {"minimum": 0})]
    latency_ms: Milliseconds


@declared
class SyncRequested(Event):
    """An administrator asked for a run of the sync."""

    about = About("sync_requested")

    correlation_id: Annotated[str, Doc("the id of the answer, which its body has too")]
    caller: Annotated[str, Doc("name of the caller in the callers document")]
    stream: Annotated[str, Doc("name of the only stream that was asked for")] | None = None
    resync: Annotated[bool, Doc("whether a new copy was asked for")]
    accepted: Annotated[str, Doc("the loss that was accepted: its kind, a colon, its number")] | None = None


@declared
class SyncRestarted(Event):
    """A new copy begins: Graph no longer accepts the last link, for example after 7 days. Readers keep the old copy."""

    about = About("sync_restarted", remedy="if it happens often: find out why the sync did not run for so long")

    stream: Stream
    tenant_id: TenantId
    cause: Cause


@declared
class SyncMended(Event):
    """Values were not what Graph documents; vend stored null, or the value without characters that databases refuse."""

    about = About(
        "sync_mended", remedy="correct the object in Entra; an unpaired surrogate or NUL came from another system"
    )

    stream: Stream
    tenant_id: TenantId
    property: Annotated[str, Doc("Graph's name of the property; `id`: objects without one, which are not stored")]
    number: Annotated[int, Doc("how many values", {"minimum": 1})]
    object_id: Annotated[str, Doc("one of the objects; empty for `id`")]


@declared
class SyncHeld(Event):
    """A complete copy lacks so many rows of one kind that vend does not trust it; the old rows of this kind stay."""

    about = About(
        "sync_held",
        remedy="find out whether a permission was taken away, or an answer was cut; if the loss is real, "
        "./vend sync --accept-loss STREAM KIND NUMBER accepts it",
    )

    stream: Stream
    tenant_id: TenantId
    kind: Annotated[str, Doc("`objects`, a relationship, a property of credentials, or a column without values")]
    number: Annotated[int, Doc("how many would be lost", {"minimum": 1})]


@declared
class SyncBinUnread(Event):
    """vend could not read the recycle bin in Graph; the copy keeps its deleted objects as they are until tomorrow."""

    about = About("sync_bin_unread", remedy="see `cause` and `remedy`")

    stream: Stream
    tenant_id: TenantId
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the failure tells")] | None = None
    trace_id: Annotated[str, Doc("the id by which Microsoft's support finds Graph's answer")] | None = None


@declared
class SyncFailed(Event):
    """A run of the sync has failed for one stream; what was stored stays, and the next run goes on from there."""

    about = About(
        "sync_failed",
        remedy="see `cause` and `remedy`",
        feeds=(Feed(RUNS, by=("stream",), fixed={"outcome": "failed"}),),
    )

    stream: Stream
    tenant_id: TenantId
    cause: Cause
    remedy: Annotated[str, Doc("what to do, where the failure tells")] | None = None
    trace_id: Annotated[str, Doc("the id by which Microsoft's support finds Graph's answer")] | None = None


@declared
class SyncSkipped(Event):
    """Another run holds the stream or its file, or was killed a short while ago, or Graph named a wait."""

    about = About("sync_skipped", feeds=(Feed(RUNS, by=("stream",), fixed={"outcome": "skipped"}),))

    stream: Stream
    tenant_id: TenantId
    cause: Cause


@declared
class DirectoryCredentialEnds(Event):
    """Certificates or secrets in the directory end soon. vend reports each 30, 7 and 1 days ahead, once each."""

    about = About(
        "directory_credential_ends",
        remedy="tell the owners of these objects, or remove what nobody uses; the view `expiring_credentials` has the "
        "names and the other ends",
    )

    stream: Stream
    tenant_id: TenantId
    number: Annotated[int, Doc("how many certificates and secrets this event is about", {"minimum": 1})]
    days: Annotated[int, Doc("within how many days the first of them ends", {"enum": [1, 7, 30]})]
    first_end: Annotated[str, Doc("when the first of them ends", {"format": "date-time"})]
    object_ids: Annotated[
        list[str], Doc("ids of the objects that have them, the first end first; at most 10", {"maxItems": 10})
    ]


@declared
class SyncDisabled(Event):
    """This app syncs nothing."""

    about = About("sync_disabled", remedy="see `cause`: no `[sync]`, or mistakes in the settings")

    cause: Cause
