import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID, IDENTITY_PRINCIPAL_ID
from shared.adapters.key_vault import Connection, KeyVault
from shared.adapters.own_identity import OwnIdentity
from shared.core.errors import OperatorError, Unavailable, VendError


@pytest.fixture
def signs(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bytes]]:
    """Read the certificate of the local vault, and have it sign, as the app's own identity."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", cloud.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", cloud.identity_header)
    settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}
    with ThreadPoolExecutor(1) as pool:
        vault = KeyVault(
            cloud.vault_url,
            credential=OwnIdentity(IDENTITY_CLIENT_ID, environ=settings),
            pool=pool,
            connection=Connection(
                ca_bundle=str(cloud.ca_file), proxy="", verify_challenge=False, connect_seconds=2, read_seconds=2
            ),
            wall=cloud.directory.now,
        )

        async def sign() -> bytes:
            certificate = await vault.signing_certificate(CERTIFICATE)
            return await vault.sign(certificate.key_id, bytes(32))

        yield lambda: asyncio.run(sign())
    gc.collect()  # an SDK client that raised holds its connection until then


def test_the_vault_signs(cloud: LocalCloud, signs: Callable[[], bytes]) -> None:
    """The rights of a signer suffice, and the signature is one of the key's length."""
    before = cloud.vault.signatures
    assert len(signs()) == 256
    assert cloud.vault.signatures == before + 1


@pytest.mark.parametrize(
    ("part", "fault", "meaning", "cause"),
    [
        ("vault", Fault(kind=Kind.STATUS, status=503), Unavailable, "the vault answered 503"),
        (
            "vault",
            Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "7"}),
            Unavailable,
            "the vault answered 429",
        ),
        ("vault", Fault(kind=Kind.STATUS, status=404), OperatorError, "the vault has no such certificate"),
        ("vault", Fault(kind=Kind.REFUSE), Unavailable, "the vault cannot be reached"),
        ("vault", Fault(kind=Kind.CUT, after_bytes=0), Unavailable, "the connection to the vault broke"),
        ("identity", Fault(kind=Kind.STATUS, status=500), Unavailable, "the managed identity cannot be had now"),
        ("identity", Fault(kind=Kind.REFUSE), Unavailable, "the managed identity cannot be had now"),
        ("identity", Fault(kind=Kind.STATUS, status=403), OperatorError, "the managed identity refused with 403"),
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
        with pytest.raises(OperatorError, match="keys/sign"):
            signs()
    finally:
        cloud.vault.assign(IDENTITY_PRINCIPAL_ID, "vend signer")


def test_an_app_without_identity_says_so() -> None:
    """REL-31: where the platform gave no identity, no other source of one is tried."""
    with pytest.raises(OperatorError, match="IDENTITY_ENDPOINT"):
        OwnIdentity("", environ={}).get_token("https://vault.azure.net/.default")
