"""Settings -> the callers, by the document that the settings name."""

from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

from shared.adapters.blob import NAME, BlobSource
from shared.adapters.file import FileSource
from shared.adapters.http import Network, exactly
from shared.callers.live import Callers
from shared.core.documents.places import is_url
from shared.core.documents.settings import Settings
from shared.core.token import AccessToken, Clock
from shared.telemetry.events import Events


def build_callers(
    settings: Settings,
    *,
    root: Path,
    network: Network,
    get_token: Callable[[str | None], Awaitable[AccessToken]],
    clock: Clock,
    events: Events,
    on_new_generation: Callable[[], None],
    open_things: AsyncExitStack,
) -> Callers:
    """Return the callers.

    Args:
        settings: without mistakes.
        root: where a relative path starts.
        network: makes the way to a blob.
        get_token: returns a token of the app's own for Azure Storage, and not the one of this SHA-256, if any.
        clock: both clocks.
        events: where mistakes are reported.
        on_new_generation: called when the document raises its `generation`.
        open_things: closes what is opened here.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="callers")
    open_things.callback(pool.shutdown)
    return Callers(
        _source(settings.callers, root=root, network=network, get_token=get_token, pool=pool),
        settings.offers,
        pool=pool,
        limits=settings.limits,
        clock=clock,
        events=events,
        on_new_generation=on_new_generation,
    )


def _source(
    place: str,
    *,
    root: Path,
    network: Network,
    get_token: Callable[[str | None], Awaitable[AccessToken]],
    pool: Executor,
) -> FileSource | BlobSource:
    if not is_url(place):
        return FileSource(root / place, pool=pool)
    return BlobSource(place, get_token=get_token, get=network.upstream(NAME, exactly(place)).get)
