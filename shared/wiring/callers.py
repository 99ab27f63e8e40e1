"""Settings -> the callers, by the document that the settings name, and how they are recognised."""

from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from shared.adapters.blob import NAME, BlobSource
from shared.adapters.file import FileSource
from shared.adapters.http import Network, exactly
from shared.adapters.own_identity import GetToken
from shared.callers.issuer_keys import IssuerKeys
from shared.callers.live import Callers
from shared.callers.published_keys import name_of, published_keys
from shared.callers.recognition import Recognition
from shared.core.documents.issuers import IssuerSettings
from shared.core.documents.places import is_url
from shared.core.documents.settings import Settings
from shared.core.policy import Deployment
from shared.core.token import Clock
from shared.core.verification_keys import KeySet
from shared.telemetry.events import Events


def build_callers(
    settings: Settings,
    *,
    root: Path,
    network: Network,
    get_token: GetToken,
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
        get_token: of Azure Storage.
        clock: both clocks.
        events: where mistakes are reported.
        on_new_generation: called when the document raises its `generation`.
        open_things: closes what is opened here.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="callers")
    open_things.callback(pool.shutdown)
    return Callers(
        _source(settings.callers, root=root, network=network, get_token=get_token, pool=pool),
        Deployment(settings.offers, settings.tenants_of_issuers),
        pool=pool,
        limits=settings.limits,
        clock=clock,
        events=events,
        on_new_generation=on_new_generation,
    )


def build_recognition(
    settings: Settings, callers: Callers, *, network: Network, clock: Clock, events: Events
) -> Recognition:
    """Return what finds the caller of a request.

    Args:
        settings: without mistakes.
        callers: those of `build_callers`.
        network: makes the way to each issuer.
        clock: both clocks.
        events: where failures of an issuer are reported.
    """
    keys = {
        name: IssuerKeys(name, _fetch(issuer, network), limits=settings.limits, clock=clock, events=events)
        for name, issuer in settings.issuers.items()
    }
    trusted = [issuer.trusted for issuer in settings.issuers.values()]
    return Recognition(callers, issuers={issuer.url: issuer for issuer in trusted}, keys=keys, clock=clock)


def _fetch(issuer: IssuerSettings, network: Network) -> Callable[[], Coroutine[Any, Any, KeySet]]:
    """Return what asks an issuer for its keys; those that stand in vend.toml are had without asking anybody."""
    if not issuer.jwks:
        return partial(_inline, issuer.key_set)
    return partial(published_keys, issuer, network.upstream(name_of(issuer), exactly(issuer.jwks)).get)


def _source(
    place: str,
    *,
    root: Path,
    network: Network,
    get_token: GetToken,
    pool: Executor,
) -> FileSource | BlobSource:
    if not is_url(place):
        return FileSource(root / place, pool=pool)
    return BlobSource(place, get_token=get_token, get=network.upstream(NAME, exactly(place)).get)


async def _inline(keys: KeySet) -> KeySet:
    return keys
