"""Settings -> the warm cache, and what acquires tokens for it."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from shared.adapters.http import Network
from shared.core.documents.settings import Settings
from shared.core.token import TokenKey
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.acquire import Client, Entra
from shared.tokens.cache import TokenCache

FIRST_KEYS = 4
"""How many tokens a worker that has none asks for at the most, one after the other, to learn whether it can."""


def build_tokens(
    settings: Settings, *, clients: Mapping[str, Client], network: Network, system: System, events: Events
) -> TokenCache:
    """Return the cache of a worker.

    Args:
        settings: without mistakes.
        clients: by profile.
        network: makes the way to Entra.
        system: clocks, sleep, chance and ids.
        events: where failed flights and odd answers are reported.
    """
    origins = settings.home.entra_origins(*(client.region for client in clients.values()))
    post = network.upstream("Entra", origins.__contains__).post
    entra = Entra(cloud=settings.home, clients=clients, post=post, limits=settings.limits, system=system, events=events)
    return TokenCache(entra.acquire, version=entra.version, limits=settings.limits, system=system, events=events)


def first_keys(settings: Settings) -> Sequence[TokenKey]:
    """Return the keys of which a worker acquires one to learn whether it can: first one of each profile.

    They are of profiles that can be vended. Where there is none, Entra is asked for any.
    """
    vendable = [profile for profile in settings.profiles.values() if profile.vendable]
    keys = (
        [TokenKey(profile.name, tenant, profile.scopes[0]) for tenant in profile.offer.tenants]
        for profile in vendable or settings.profiles.values()
    )
    return [key for row in zip_longest(*keys) for key in row if key is not None][:FIRST_KEYS]
