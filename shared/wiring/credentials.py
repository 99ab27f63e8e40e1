"""Settings -> the clients of the profiles, each with its chain of credentials."""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.file import FileSource
from shared.adapters.http import Network, exactly
from shared.adapters.key_vault import NAME, KeyVault
from shared.core.documents.content import Content
from shared.core.documents.credentials import (
    AssertionFileSettings,
    CertificateFileSettings,
    CertificateSettings,
    CredentialSettings,
    FederatedSettings,
    SecretSettings,
    Signing,
)
from shared.core.documents.settings import Profile, Settings
from shared.core.entra.certificate import VersionSummary
from shared.core.errors import OperatorError, UpstreamError
from shared.core.limits import Limits
from shared.credentials.certificate_link import CertificateLink, LinkFacts, Signer
from shared.credentials.chain import Chain
from shared.credentials.credential import Credential
from shared.credentials.fixed import FixedCredential
from shared.credentials.foreign_assertion import AssertionLink
from shared.credentials.secret import SecretLink
from shared.credentials.vault_certificate import vault_certificate
from shared.credentials.vault_signer import VaultSigner
from shared.credentials.vault_versions import VaultVersions
from shared.system import System
from shared.tokens.acquire import Client
from shared.wiring.identity import OwnIdentity

if TYPE_CHECKING:
    from shared.core.entra.key_pair import KeyPair
    from shared.credentials.certificate_file import Read

type Vaults = Callable[[str], KeyVault]
type Identities = Callable[[str], OwnIdentity]


def build_vaults(settings: Settings, *, identity: OwnIdentity, network: Network, system: System) -> Vaults:
    """Return what returns a vault by its URL.

    Args:
        settings: without mistakes.
        identity: the app's own.
        network: makes the way to each vault.
        system: clocks.
    """
    cloud = settings.home

    @cache
    def vault(url: str) -> KeyVault:
        fault = cloud.vault_fault(url)
        return KeyVault(
            url,
            get_token=identity.tokens_for(cloud.vault_scope),
            upstream=network.upstream(NAME, exactly(url), fault=f"the vault's address {fault}" if fault else ""),
            clock=system.clock,
        )

    return vault


def build_clients(
    settings: Settings, *, root: Path, vaults: Vaults, federated: Identities, system: System
) -> Mapping[str, Client]:
    """Return the client of each profile.

    Args:
        settings: without mistakes.
        root: where a relative path starts.
        vaults: returns a vault by its URL.
        federated: returns an identity of the app by its client ID, for the tokens that a federated credential takes.
        system: clocks, ids and threads.
    """
    build = _Credentials(root=root, vaults=vaults, federated=federated, limits=settings.limits, system=system)
    return {
        name: _client(profile, build, limits=settings.limits, system=system)
        for name, profile in settings.profiles.items()
    }


def build_certificate(
    found: CertificateSettings, vault: KeyVault, *, client_id: str, limits: Limits, system: System
) -> VaultVersions[CertificateLink]:
    """Return a certificate in Key Vault.

    Args:
        found: its settings.
        vault: that has it.
        client_id: of the app registration.
        limits: the knobs.
        system: clocks, ids and threads.
    """

    def signer(version: str) -> Signer:
        if found.signing is Signing.VAULT:
            return VaultSigner(vault, name=found.name, version=version)
        from shared.credentials.local_key import LocalSigner  # noqa: PLC0415  # late: the start of a worker is awaited

        load = partial(_exported, vault, found.name, version, threads=system.threads)
        return LocalSigner(load, seconds=limits.caller_budget_seconds, threads=system.threads)

    return vault_certificate(
        vault,
        name=found.name,
        signer=signer,
        client_id=client_id,
        send_x5c=found.send_x5c,
        limits=limits,
        system=system,
    )


def _client(profile: Profile, build: "_Credentials", *, limits: Limits, system: System) -> Client:
    credentials = [
        build.credential(found, profile.client_id, at=f"credentials[{at}]")
        for at, found in enumerate(profile.credentials)
    ]
    return Client(
        client_id=profile.client_id,
        credential=Chain(credentials, limits=limits, system=system),
        region=profile.region,
        capabilities=profile.claims_capabilities,
    )


class _Credentials:
    """Makes the credentials of the profiles; each kind has a case of its own."""

    def __init__(self, *, root: Path, vaults: Vaults, federated: Identities, limits: Limits, system: System) -> None:
        self._root = root
        self._vaults = vaults
        self._federated = federated
        self._limits = limits
        self._system = system

    def credential(self, found: CredentialSettings, client_id: str, *, at: str) -> Credential:
        """Return the credential of one entry; `at` names the entry among those of its profile."""
        match found:
            case CertificateSettings():
                vault = self._vaults(found.vault)
                return build_certificate(found, vault, client_id=client_id, limits=self._limits, system=self._system)
            case SecretSettings(value=value) if value:
                return FixedCredential(SecretLink(LinkFacts(f"secret of {at}"), load=_always(value)))
            case SecretSettings():
                return self._vault_secret(found)
            case FederatedSettings(identity_client_id=name):
                token = self._federated(name).exchange_token
                return FixedCredential(AssertionLink(LinkFacts(f"managed identity {name}"), get=token))
            case CertificateFileSettings():
                return self._certificate_file(found, client_id)
            case AssertionFileSettings(path=path):
                read = partial(_read, FileSource(self._root / path), path)
                return FixedCredential(AssertionLink(LinkFacts(path), get=partial(_assertion, read, path)))

    def _vault_secret(self, found: SecretSettings) -> Credential:
        vault = self._vaults(found.vault)

        def link(name: str, version: VersionSummary) -> SecretLink:
            facts = LinkFacts(name, version.created, version.not_after)
            return SecretLink(facts, load=partial(vault.secret, found.name, version.version))

        return VaultVersions(
            f"{vault.url}/secrets/{found.name}",
            listing=partial(vault.secret_versions, found.name),
            link=link,
            limits=self._limits,
            clock=self._system.clock,
        )

    def _certificate_file(self, found: CertificateFileSettings, client_id: str) -> Credential:
        from shared.credentials.certificate_file import CertificateFile  # noqa: PLC0415
        from shared.credentials.local_key import LocalSigner  # noqa: PLC0415

        read = partial(_read, FileSource(self._root / found.path), found.path)

        def link(facts: LinkFacts, pair: "KeyPair") -> CertificateLink:
            signer = LocalSigner(
                _always(pair), seconds=self._limits.caller_budget_seconds, threads=self._system.threads
            )
            return CertificateLink(
                facts,
                signer=signer,
                client_id=client_id,
                send_x5c=found.send_x5c,
                limits=self._limits,
                system=self._system,
            )

        return CertificateFile(
            read,
            name=found.path,
            password=found.password,
            link=link,
            clock=self._system.clock,
            threads=self._system.threads,
        )


def _always[T](value: T) -> Callable[[], Awaitable[T]]:
    async def load() -> T:
        return value

    return load


async def _exported(vault: KeyVault, name: str, version: str, *, threads: Executor) -> "KeyPair":
    """Return the key pair of an exportable certificate: Key Vault has it as the secret of the same name."""
    from shared.core.entra.key_pair import from_vault  # noqa: PLC0415
    from shared.credentials.local_key import parse_key_pair  # noqa: PLC0415

    content = from_vault(await vault.secret(name, version))
    return await parse_key_pair(content, name=f"{name}/{version}", threads=threads)


async def _read(source: FileSource, path: str, etag: str) -> Content | None:
    """Read a file; its errors name it as vend.toml does."""
    try:
        return await source.read(etag)
    except UpstreamError as error:
        raise type(error)(cause=error.cause, remedy="see what writes the file").about(path) from None


async def _assertion(read: "Read", path: str, claims: str | None, *, refused: str | None) -> str:  # noqa: ARG001  # see GetAssertion
    """Return the assertion in a file, as it is now: its writer takes no claims, and is told of no refusal."""
    content = await read("")
    try:
        text = (content.text if content else b"").decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise OperatorError(cause="holds no assertion", remedy="see what writes the file").about(path)
    return text
