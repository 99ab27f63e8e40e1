"""Settings -> the timer's job: the registration of new versions of certificates."""

import asyncio
from collections.abc import Sequence
from functools import partial

from shared.adapters.http import Network, exactly
from shared.core.documents.credentials import CertificateSettings
from shared.core.documents.settings import Profile, Settings
from shared.credentials.rotation import AppRegistration, Rotation
from shared.system import System
from shared.telemetry.events import Events
from shared.tokens.endpoint import TokenEndpoint
from shared.wiring.credentials import Vaults, build_certificate
from shared.wiring.directory import Job


def build_rotation(settings: Settings, *, vaults: Vaults, network: Network, system: System, events: Events) -> Job:
    """Return the job that registers new versions of the certificates of each profile that asks for it.

    Profiles of one app registration share a run: Graph takes each request as one more key, and has room for some 600.

    Args:
        settings: without mistakes.
        vaults: returns a vault by its URL.
        network: makes the ways to Entra and to Graph.
        system: clocks, chance and ids.
        events: where registrations and failures are reported.
    """
    cloud, limits = settings.home, settings.limits
    profiles = [profile for profile in settings.profiles.values() if profile.application_object_id]
    if not profiles:
        return no_rotation
    post = network.upstream("Entra", cloud.entra_origins().__contains__).post
    endpoint = TokenEndpoint(cloud=cloud, post=post, limits=limits, system=system, events=events)
    graph = network.upstream("Graph", exactly(cloud.graph))

    def rotation(sharing: Sequence[Profile]) -> Rotation:
        profile = sharing[0]
        certificate = partial(build_certificate, client_id=profile.client_id, limits=limits, system=system)
        distinct = {_place(found): found for each in sharing for found in each.rotated}
        return Rotation(
            AppRegistration(
                profile=profile.name,
                client_id=profile.client_id,
                object_id=profile.application_object_id.lower(),
                tenant_id=profile.home_tenant,
                cloud=cloud,
            ),
            certificates=[certificate(found, vaults(found.vault)) for found in distinct.values()],
            ask=endpoint.ask,
            send=graph.send,
            limits=limits,
            system=system,
            events=events,
        )

    by_registration: dict[tuple[str, str, str], list[Profile]] = {}
    for profile in profiles:
        own = profile.client_id.lower(), profile.application_object_id.lower(), profile.home_tenant
        by_registration.setdefault(own, []).append(profile)
    rotations = [rotation(sharing) for sharing in by_registration.values()]

    async def run() -> None:
        await asyncio.gather(*(each.run() for each in rotations))

    return run


def _place(found: CertificateSettings) -> tuple[str, str]:
    """Return where a certificate is; Key Vault's names ignore case."""
    return found.vault.rstrip("/").lower(), found.name.lower()


async def no_rotation() -> None:
    """Do nothing: no profile has a certificate that is registered by vend."""
