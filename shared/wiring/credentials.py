"""Settings -> the clients of the profiles, each with its chain of credentials."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

from shared.adapters.key_vault import Connection, KeyVault, write_ca_bundle
from shared.adapters.own_identity import OwnIdentity
from shared.core.documents.settings import CertificateSettings, CredentialSettings, Profile, Settings
from shared.credentials.chain import Chain
from shared.credentials.credential import Credential
from shared.credentials.vault_certificate import VaultCertificate
from shared.system import System
from shared.tokens.acquire import Client

VAULT_THREADS = 4

type Vaults = Callable[[str], KeyVault]


def build_clients(
    settings: Settings, *, identity: OwnIdentity, roots: str, system: System, open_things: AsyncExitStack
) -> Mapping[str, Client]:
    """Return the client of each profile.

    Args:
        settings: without mistakes.
        identity: the app's own.
        roots: certificates in PEM that are trusted beside the system's.
        system: clocks and ids.
        open_things: closes what is opened here.
    """
    pool = ThreadPoolExecutor(VAULT_THREADS, thread_name_prefix="vault")
    open_things.callback(pool.shutdown)
    bundle = write_ca_bundle(roots) if roots else None
    if bundle:
        open_things.callback(Path(bundle).unlink)
    connection = Connection(
        ca_bundle=bundle,
        proxy=settings.network.proxy,
        verify_challenge=settings.home.verify_vault_challenge,
        connect_seconds=settings.limits.connect_seconds,
        read_seconds=settings.limits.read_idle_seconds,
    )

    @cache
    def vault(url: str) -> KeyVault:
        return KeyVault(url, credential=identity, pool=pool, connection=connection, wall=system.clock.wall)

    return {
        name: _client(profile, settings, vaults=vault, system=system) for name, profile in settings.profiles.items()
    }


def _client(profile: Profile, settings: Settings, *, vaults: Vaults, system: System) -> Client:
    links = [_credential(found, profile, settings, vaults=vaults, system=system) for found in profile.credentials]
    return Client(
        client_id=profile.client_id,
        credential=Chain(links),
        region=profile.region,
        capabilities=profile.claims_capabilities,
    )


def _credential(
    found: CredentialSettings, profile: Profile, settings: Settings, *, vaults: Vaults, system: System
) -> Credential:
    match found:
        case CertificateSettings():
            return VaultCertificate(
                vault=vaults(found.vault),
                name=found.name,
                client_id=profile.client_id,
                limits=settings.limits,
                system=system,
            )
