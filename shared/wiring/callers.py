"""Settings -> the callers, by the document that the settings name."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

from shared.adapters.blob import BlobSource, GetBlob
from shared.adapters.file import FileSource
from shared.adapters.own_identity import OwnIdentity
from shared.callers.live import Callers
from shared.core.documents.settings import Settings, is_url
from shared.core.token import Clock
from shared.telemetry.events import Events


def build_callers(
    settings: Settings,
    *,
    root: Path,
    identity: OwnIdentity,
    get: GetBlob,
    clock: Clock,
    events: Events,
    on_new_generation: Callable[[], None],
    open_things: AsyncExitStack,
) -> Callers:
    """Return the callers.

    Args:
        settings: without mistakes.
        root: where a relative path starts.
        identity: the app's own; used for this document alone, so that no call to a vault holds it up.
        get: gets a blob.
        clock: both clocks.
        events: where mistakes are reported.
        on_new_generation: called when the document raises its `generation`.
        open_things: closes what is opened here.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="callers")
    open_things.callback(pool.shutdown)
    return Callers(
        _source(settings.callers, root=root, identity=identity, get=get, pool=pool),
        settings.offers,
        pool=pool,
        limits=settings.limits,
        clock=clock,
        events=events,
        on_new_generation=on_new_generation,
    )


def _source(place: str, *, root: Path, identity: OwnIdentity, get: GetBlob, pool: Executor) -> FileSource | BlobSource:
    if not is_url(place):
        return FileSource(root / place, pool=pool)
    return BlobSource(place, token_for=lambda scope: identity.get_token(scope).token, get=get, pool=pool)
