"""Settings -> the clients of the profiles, each with its chain of credentials."""

from collections.abc import Callable, Mapping
from functools import cache

from shared.adapters.http import Network, exactly
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import SdkCredential
from shared.core.documents.settings import CertificateSettings, CredentialSettings, Profile, Settings
from shared.credentials.chain import Chain
from shared.credentials.credential import Credential
from shared.credentials.vault_certificate import VaultCertificate
from shared.system import System
from shared.tokens.acquire import Client

type Vaults = Callable[[str], KeyVault]


def build_clients(
    settings: Settings, *, identity: SdkCredential, network: Network, system: System
) -> Mapping[str, Client]:
    """Return the client of each profile.

    Args:
        settings: without mistakes.
        identity: the app's own.
        network: makes the way to each vault.
        system: clocks and ids.
    """
    cloud = settings.home

    @cache
    def vault(url: str) -> KeyVault:
        fault = cloud.vault_fault(url)
        return KeyVault(
            url,
            credential=identity,
            upstream=network.upstream(NAME, exactly(url), fault=f"the vault's address {fault}" if fault else ""),
            verify_challenge=cloud.verify_vault_challenge,
            clock=system.clock,
        )

    return {
        name: _client(profile, settings, vaults=vault, system=system) for name, profile in settings.profiles.items()
    }


def _client(profile: Profile, settings: Settings, *, vaults: Vaults, system: System) -> Client:
    credentials = [_credential(found, profile, settings, vaults=vaults, system=system) for found in profile.credentials]
    return Client(
        client_id=profile.client_id,
        credential=Chain(credentials, limits=settings.limits, system=system),
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
                send_x5c=False,
                limits=settings.limits,
                system=system,
            )
