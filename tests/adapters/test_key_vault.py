import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from azure.keyvault.certificates import CertificateClient, CertificateProperties
from azure.keyvault.secrets import SecretClient, SecretProperties

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID
from emulator.vault.policy import Policy
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import ManagedIdentity
from shared.core.entra.certificate import VersionSummary
from shared.core.entra.clouds import CLOUDS
from shared.core.entra.jws import Algorithm
from shared.core.errors import OperatorError, Unavailable, VendError
from shared.core.limits import Limits
from shared.core.token import AccessToken, TokenKey, Wanted
from shared.system import System


@asynccontextmanager
async def vault_of_the_app(cloud: LocalCloud) -> AsyncIterator[KeyVault]:
    """The local vault, asked with the app's own identity."""
    settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}
    network = Network(tls=client_tls(read_roots(str(cloud.ca_file))), proxy="", limits=Limits())
    identity = ManagedIdentity(IDENTITY_CLIENT_ID, environ=settings, network=network, clock=System().clock)

    async def token(_: str | None) -> AccessToken:
        return (await identity.acquire(Wanted(TokenKey("", "", CLOUDS["public"].vault_scope)))).token

    try:
        yield KeyVault(
            cloud.vault_url,
            get_token=token,
            upstream=network.upstream(NAME, exactly(cloud.vault_url)),
            clock=System().clock,
        )
    finally:
        await network.aclose()


@pytest.fixture
def signs(cloud: LocalCloud) -> Callable[[], bytes]:
    """Read the certificate of the local vault, and have it sign, as the app's own identity."""

    async def sign() -> bytes:
        async with vault_of_the_app(cloud) as vault:
            [found] = await vault.certificate_versions(CERTIFICATE)
            _, key_id = await vault.certificate(CERTIFICATE, found.version)
            return await vault.sign(key_id, bytes(32), Algorithm.PS256)

    return lambda: asyncio.run(sign())


@pytest.mark.slow
def test_the_vault_is_read_as_the_stock_clients_read_it(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions with their dates over several pages, a certificate, the id of its key, and a secret."""
    name = "oracle"
    for _ in range(26):  # more than are on a page
        cloud.vault.create_certificate(name, Policy("CN=vend"))
    secret_version = cloud.vault.set_secret("oracle-secret", "a value", not_before=1_700_000_000, expires=1_900_000_000)
    cloud.vault.assign(IDENTITY_PRINCIPAL_ID, "Key Vault Secrets User")
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)
    tls: dict[str, Any] = {"connection_verify": str(cloud.ca_file), "use_env_settings": False}

    async def ours(version: str) -> tuple[object, ...]:
        async with vault_of_the_app(cloud) as vault:
            certificate, key_id = await vault.certificate(name, version)
            versions = await vault.certificate_versions(name)
            secrets = await vault.secret_versions("oracle-secret")
            value = await vault.secret("oracle-secret", secret_version)
            return versions, secrets, certificate.chain, key_id, value

    def summary(found: CertificateProperties | SecretProperties) -> VersionSummary:
        assert found.version
        assert found.created_on
        return VersionSummary(
            found.version, found.enabled is True, found.created_on, found.not_before, found.expires_on
        )

    try:
        with (
            ManagedIdentityCredential(client_id=IDENTITY_CLIENT_ID, **tls) as identity,
            CertificateClient(cloud.vault_url, identity, verify_challenge_resource=False, **tls) as certificates,
            SecretClient(cloud.vault_url, identity, verify_challenge_resource=False, **tls) as secrets,
        ):
            versions = [summary(each) for each in certificates.list_properties_of_certificate_versions(name)]
            of_secret = [summary(each) for each in secrets.list_properties_of_secret_versions("oracle-secret")]
            version = versions[3].version
            known = certificates.get_certificate_version(name, version)
            value = secrets.get_secret("oracle-secret", secret_version).value
        assert asyncio.run(ours(version)) == (versions, of_secret, (bytes(known.cer or b""),), known.key_id, value)
    finally:
        cloud.vault.unassign(IDENTITY_PRINCIPAL_ID, "Key Vault Secrets User")
    assert len(versions) == 26


def test_the_vault_signs(cloud: LocalCloud, signs: Callable[[], bytes]) -> None:
    """The rights of a signer suffice, and the signature is one of the key's length."""
    before = cloud.vault.signatures
    assert len(signs()) == 256
    assert cloud.vault.signatures == before + 1


@pytest.mark.parametrize(
    ("part", "fault", "meaning", "cause"),
    [
        ("vault", Fault(kind=Kind.STATUS, status=503), Unavailable, "Key Vault: HTTP 503"),
        (
            "vault",
            Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "7"}),
            Unavailable,
            "Key Vault: HTTP 429",
        ),
        ("vault", Fault(kind=Kind.STATUS, status=404), OperatorError, "Key Vault: HTTP 404"),
        ("vault", Fault(kind=Kind.REFUSE), Unavailable, "Key Vault: no connection"),
        ("vault", Fault(kind=Kind.CUT, after_bytes=0), Unavailable, "Key Vault: broken connection"),
        ("identity", Fault(kind=Kind.STATUS, status=500), Unavailable, "managed identity: HTTP 500"),
        ("identity", Fault(kind=Kind.REFUSE), Unavailable, "managed identity: no connection"),
        ("identity", Fault(kind=Kind.STATUS, status=403), OperatorError, "managed identity: HTTP 403"),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else None,
)
def test_a_failure_has_a_meaning(
    cloud: LocalCloud, signs: Callable[[], bytes], part: str, fault: Fault, meaning: type[VendError], cause: str
) -> None:
    """REL-23 to 25, 32, 33: what passes is worth a retry, what does not is the operator's; no text is kept."""
    cloud.faults[part].set(fault)
    try:
        with pytest.raises(meaning) as failure:
            signs()
    finally:
        cloud.faults[part].clear()
    assert (type(failure.value), failure.value.cause) == (meaning, cause)
    if "retry-after" in fault.headers:
        assert failure.value.wait is not None
        assert failure.value.wait.total_seconds() == 7
    assert failure.value.__cause__ is None
    assert failure.value.__context__ is None


def test_a_missing_role_is_the_operators(cloud: LocalCloud, signs: Callable[[], bytes]) -> None:
    """REL-24: an identity without the role is refused, and the event names the rights that it needs."""
    cloud.vault.unassign(IDENTITY_PRINCIPAL_ID, "vend signer")
    try:
        with pytest.raises(OperatorError) as refusal:
            signs()
    finally:
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, "vend signer")
    assert refusal.value.cause == "Key Vault: HTTP 403 ForbiddenByRbac"
    assert "keys/sign" in str(refusal.value.remedy)


def test_an_app_without_identity_says_so() -> None:
    """REL-31: where the platform gave no identity, no other source of one is tried."""

    async def ask() -> None:
        network = Network(tls=client_tls(""), proxy="", limits=Limits())
        identity = ManagedIdentity("", environ={}, network=network, clock=System().clock)
        await identity.acquire(Wanted(TokenKey("", "", "https://vault.azure.net/.default")))

    with pytest.raises(OperatorError, match="IDENTITY_ENDPOINT"):
        asyncio.run(ask())
