"""Settings -> the warm cache, and what acquires tokens for it."""

from collections.abc import Mapping

from shared.core.documents.settings import Settings
from shared.core.token import TokenKey
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.acquire import Client, Entra, Post
from shared.tokens.cache import TokenCache


def build_tokens(
    settings: Settings, *, clients: Mapping[str, Client], post: Post, system: System, events: Events
) -> TokenCache:
    """Return the cache of a worker.

    Args:
        settings: without mistakes.
        clients: by profile.
        post: sends a form to Entra.
        system: clocks, sleep, chance and ids.
        events: where failed flights and odd answers are reported.
    """
    entra = Entra(cloud=settings.home, clients=clients, post=post, limits=settings.limits, system=system, events=events)
    return TokenCache(entra.acquire, version=entra.version, limits=settings.limits, system=system, events=events)


def first_key(settings: Settings) -> TokenKey:
    """Return the key that a worker acquires to learn whether it can: the first that could be vended."""
    vendable = [profile for profile in settings.profiles.values() if profile.vendable]
    profile = (vendable or list(settings.profiles.values()))[0]
    return TokenKey(profile.name, profile.offer.tenants[0], profile.scopes[0])
