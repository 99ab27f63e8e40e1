import asyncio
from collections.abc import Callable

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import ManagedIdentity, SdkCredential
from shared.core.entra.clouds import CLOUDS
from shared.core.entra.jws import Algorithm
from shared.core.errors import OperatorError, Unavailable, VendError
from shared.core.limits import Limits
from shared.core.token import AccessToken, TokenKey, Wanted
from shared.system import System


@pytest.fixture
def signs(cloud: LocalCloud) -> Callable[[], bytes]:
    """Read the certificate of the local vault, and have it sign, as the app's own identity."""
    settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}

    async def sign() -> bytes:
        network = Network(tls=client_tls(read_roots(str(cloud.ca_file))), proxy="", limits=Limits())
        identity = ManagedIdentity(IDENTITY_CLIENT_ID, environ=settings, network=network, clock=System().clock)

        async def token(scope: str, _: str | None) -> AccessToken:
            return (await identity.acquire(Wanted(TokenKey("", "", scope)))).token

        vault = KeyVault(
            cloud.vault_url,
            credential=SdkCredential(token, scopes={CLOUDS["public"].vault_scope}),
            upstream=network.upstream(NAME, exactly(cloud.vault_url)),
            verify_challenge=False,
            clock=System().clock,
        )
        try:
            [found] = await vault.certificate_versions(CERTIFICATE)
            certificate, key_id = await vault.certificate(CERTIFICATE, found.version)
            return await vault.sign(certificate, key_id, bytes(32), Algorithm.PS256)
        finally:
            await network.aclose()

    return lambda: asyncio.run(sign())


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
