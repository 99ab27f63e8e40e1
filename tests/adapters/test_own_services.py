"""What the services that the app calls as itself may answer, and what each answer means."""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from emulator.cloud import LocalCloud
from emulator.network.faults import Fault, Kind, Switch
from emulator.seed import CERTIFICATE, IDENTITY_CLIENT_ID
from emulator.vault.policy import Policy
from shared.adapters.http import Network, client_tls, exactly, read_roots
from shared.adapters.key_vault import NAME, KeyVault
from shared.adapters.own_identity import ManagedIdentity
from shared.core import errors
from shared.core.entra.jws import Algorithm
from shared.core.errors import UpstreamError
from shared.core.limits import Limits
from shared.core.token import AccessToken, Moment, TokenKey, Wanted
from tests.clock import FakeClock
from tests.in_process import suffering
from tests.tables import case_id, cases

VAULT_SCOPE = "https://vault.azure.net/.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer, and what it means; tests/data/own_services.toml describes the fields."""

    id: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    until: int | None = None
    body: str = ""
    lifetime: int | None = None
    kind: str = ""
    cause: str = ""
    wait: int | None = None
    remedy: str = ""
    asked: str = "versions"

    def fault(self, now: Moment) -> Fault:
        """Make the part answer with it."""
        body = re.sub(r"<now\+(\d+)>", lambda found: str(int(now.wall) + int(found[1])), self.body)
        headers = dict(self.headers)
        if self.until is not None:
            headers["retry-after"] = formatdate(now.wall + self.until, usegmt=True)
        return Fault(kind=Kind.STATUS, status=self.status, headers=headers, body=body)


class Worker:
    """The app's own identity and its vault, by one clock."""

    def __init__(self, cloud: LocalCloud, clock: FakeClock) -> None:
        self.network = Network(tls=client_tls(read_roots(str(cloud.ca_file))), proxy="", limits=Limits())
        settings = {"IDENTITY_ENDPOINT": cloud.identity_endpoint, "IDENTITY_HEADER": cloud.identity_header}
        self._identity = ManagedIdentity(IDENTITY_CLIENT_ID, environ=settings, network=self.network, clock=clock)
        self.vault = KeyVault(
            cloud.vault_url,
            get_token=partial(self.token, VAULT_SCOPE),
            upstream=self.network.upstream(NAME, exactly(cloud.vault_url)),
            clock=clock,
        )

    async def token(self, scope: str = VAULT_SCOPE, _: str | None = None) -> AccessToken:
        """Acquire a token of the app's own."""
        return (await self._identity.acquire(Wanted(TokenKey("", "", scope)))).token


VERSION = f"{7:032x}"
KEY_ID = "<vault>/keys/vend/<version>"
ASK: Mapping[str, Callable[[KeyVault, str], Awaitable[object]]] = {
    "versions": lambda vault, _: vault.certificate_versions(CERTIFICATE),
    "certificate": lambda vault, _: vault.certificate(CERTIFICATE, VERSION),
    "secret": lambda vault, _: vault.secret(CERTIFICATE, VERSION),
    "sign": lambda vault, key_id: vault.sign(key_id, bytes(32), Algorithm.PS256),
}


def meet[T](
    switch: Switch, case: Answered, cloud: LocalCloud, clock: FakeClock, ask: Callable[[Worker], Awaitable[T]]
) -> T:
    """Have a new worker ask while a part gives this answer."""

    async def story() -> T:
        worker = Worker(cloud, clock)
        try:
            with suffering(switch, case.fault(clock())):
                return await ask(worker)
        finally:
            await worker.network.aclose()

    return asyncio.run(story())


def check_refusal(case: Answered, refusal: UpstreamError) -> None:
    """Compare an error with its row."""
    kind = next(each for each in type(refusal).__mro__ if each.__module__ == errors.__name__)
    assert (kind.__name__, refusal.cause) == (case.kind, case.cause)
    assert (refusal.upstream_wait.total_seconds() if refusal.upstream_wait else None) == case.wait
    assert case.remedy in (refusal.remedy or "")
    assert (refusal.remedy is not None) is (case.remedy != "")
    assert "CANARY" not in f"{refusal.cause}{refusal.remedy}{refusal.public}"
    assert (refusal.__cause__, refusal.__context__) == (None, None)  # they would hold request and answer


async def asked[T](cloud: LocalCloud, clock: FakeClock, ask: Callable[[KeyVault], Awaitable[T]]) -> T:
    """Have a new worker ask its vault."""
    worker = Worker(cloud, clock)
    try:
        return await ask(worker.vault)
    finally:
        await worker.network.aclose()


@pytest.mark.parametrize(
    "case", cases("own_services.toml", Answered, "identity", beside=["vault", "reading"]), ids=case_id
)
def test_an_answer_of_the_identity_is_a_token_or_an_error(
    case: Answered, timeless: LocalCloud, fake_clock: FakeClock
) -> None:
    """REL-31, REL-33, FND-D4: a token of a plausible life, which a header can carry, or the cause in our own words."""
    switch = timeless.faults["identity"]
    if case.lifetime is not None:
        token = meet(switch, case, timeless, fake_clock, Worker.token)
        assert (token.secret, token.lifetime, token.refresh_after) == ("a-token", case.lifetime, case.lifetime / 2)
        return
    with pytest.raises(UpstreamError) as caught:
        meet(switch, case, timeless, fake_clock, Worker.token)
    check_refusal(case, caught.value)


@pytest.mark.parametrize(
    "case", cases("own_services.toml", Answered, "vault", beside=["identity", "reading"]), ids=case_id
)
def test_a_refusal_of_the_vault_is_told_by_its_code(
    case: Answered, timeless: LocalCloud, fake_clock: FakeClock
) -> None:
    """FND-D2: the narrowest code of a fixed list, with its remedy, and no word of the answer."""
    with pytest.raises(UpstreamError) as caught:
        meet(
            timeless.faults["vault"],
            case,
            timeless,
            fake_clock,
            lambda worker: worker.vault.certificate_versions(CERTIFICATE),
        )
    check_refusal(case, caught.value)


@pytest.mark.parametrize(
    "case", cases("own_services.toml", Answered, "reading", beside=["identity", "vault"]), ids=case_id
)
def test_an_answer_of_the_vault_is_read_whole_or_not_at_all(
    case: Answered, timeless: LocalCloud, fake_clock: FakeClock
) -> None:
    """SEC-10: each member that is needed is there and of its kind, else the answer counts for nothing."""

    def real(text: str) -> str:
        return text.replace("<vault>", timeless.vault_url).replace("<version>", VERSION)

    lying = replace(case, body=real(case.body))
    with pytest.raises(UpstreamError) as caught:
        meet(
            timeless.faults["vault"],
            lying,
            timeless,
            fake_clock,
            lambda worker: ASK[case.asked](worker.vault, real(KEY_ID)),
        )
    check_refusal(case, caught.value)


@pytest.mark.parametrize(
    "key_id",
    [
        "",
        "CANARY",
        "<vault>",
        "<vault>/keys/vend",
        "<vault>/keys/vend/",
        "<vault>/keys/vend/<version>/",
        "<vault>/keys/vend/<version>/encrypt",
        "<vault>/keys/vend/<version>?api-version=1",
        "<vault>/keys/vend/<version>#",
        "<vault>/vault/vend/<version>",
        "http://localhost/keys/vend/<version>",
        "//localhost/keys/vend/<version>",
        " <vault>/keys/vend/<version>",
        "<vault>/keys/vend/<version>\n",
    ],
)
def test_a_key_signs_by_its_whole_id_alone(key_id: str, timeless: LocalCloud, fake_clock: FakeClock) -> None:
    """The id stands in an answer, and becomes an address: nothing else is asked at it."""
    switch = timeless.faults["vault"]
    before = switch.taken
    sent = key_id.replace("<vault>", timeless.vault_url).replace("<version>", VERSION)
    any_request = suffering(switch, Fault(kind=Kind.STATUS, status=500))
    with any_request, pytest.raises(errors.BadAnswer, match="no usable id"):
        asyncio.run(asked(timeless, fake_clock, lambda vault: vault.sign(sent, bytes(32), Algorithm.PS256)))
    assert switch.taken == before


NEXT = "/certificates/vend/versions?api-version=7.6&$skiptoken=again"


def listing(cloud: LocalCloud, *versions: str, name: str = CERTIFICATE, more: str = "") -> Fault:
    """Make the vault answer with a page of versions, and 60 times at most."""
    items = [
        {"id": f"{cloud.vault_url}/certificates/{name}/{each}", "attributes": {"enabled": True}} for each in versions
    ]
    body = {"value": items, "nextLink": more and f"{cloud.vault_url}{more}"}
    return Fault(kind=Kind.STATUS, status=200, times=60, body=json.dumps(body))


def redirect(cloud: LocalCloud) -> Fault:
    """Make the vault send one request on to itself, where the answer would be a good one."""
    location = f"{cloud.vault_url}/certificates/{CERTIFICATE}/versions?api-version=7.6"
    return Fault(kind=Kind.STATUS, status=302, times=1, headers={"location": location})


def of_another(cloud: LocalCloud) -> Fault:
    """Make the vault answer with one version of another certificate."""
    body = {"id": f"{cloud.vault_url}/certificates/other/{VERSION}", "cer": "", "attributes": {"enabled": True}}
    return Fault(kind=Kind.STATUS, status=200, body=json.dumps(body))


FULL_PAGE = [f"{number:032x}" for number in range(501)]


@pytest.mark.parametrize(
    ("suffers", "kind", "cause"),
    [
        (lambda cloud: listing(cloud, VERSION, more=NEXT), errors.BadAnswer, "Key Vault: a list of more than 50 pages"),
        (
            lambda cloud: listing(cloud, *FULL_PAGE, more=NEXT),
            errors.OperatorError,
            f"{CERTIFICATE}: Key Vault: more than 1000 versions",
        ),
        (redirect, errors.OperatorError, "Key Vault: HTTP 302"),
        (
            lambda cloud: listing(cloud, VERSION, name="other"),
            errors.BadAnswer,
            "Key Vault: an answer about another certificate or secret",
        ),
    ],
    ids=["endless pages", "too many versions", "a redirect", "another certificate"],
)
def test_a_list_of_the_vault_is_bounded_and_of_the_certificate_that_was_asked_for(
    timeless: LocalCloud,
    fake_clock: FakeClock,
    suffers: Callable[[LocalCloud], Fault],
    kind: type[UpstreamError],
    cause: str,
) -> None:
    """SEC-10: a lying vault costs at most 50 requests, and no answer is taken that is about something else."""
    with suffering(timeless.faults["vault"], suffers(timeless)), pytest.raises(UpstreamError) as caught:
        asyncio.run(asked(timeless, fake_clock, lambda vault: vault.certificate_versions(CERTIFICATE)))
    assert (type(caught.value), caught.value.cause) == (kind, cause)


@pytest.mark.parametrize("ask", [KeyVault.certificate, KeyVault.secret], ids=["certificate", "secret"])
def test_one_version_is_of_the_name_that_was_asked_for(
    ask: Callable[[KeyVault, str, str], Awaitable[object]], timeless: LocalCloud, fake_clock: FakeClock
) -> None:
    """The answer about another certificate or secret is rejected, although its version is the same."""
    with suffering(timeless.faults["vault"], of_another(timeless)), pytest.raises(errors.BadAnswer, match="another"):
        asyncio.run(asked(timeless, fake_clock, lambda vault: ask(vault, CERTIFICATE, VERSION)))


def test_a_version_whose_name_is_none_of_key_vaults_is_skipped(timeless: LocalCloud, fake_clock: FakeClock) -> None:
    """SEC-10: names of versions are in causes and in the ids of links, so that no other text may be one."""
    names = ["eyJhbGciOi.CANARY.sig", VERSION, "A" * 32, "a" * 33, VERSION + "%0A"]
    with suffering(timeless.faults["vault"], listing(timeless, *names)):
        found = asyncio.run(asked(timeless, fake_clock, lambda vault: vault.certificate_versions(CERTIFICATE)))
    assert [each.version for each in found] == [VERSION]


def test_each_version_of_a_certificate_signs_with_its_own_key(timeless: LocalCloud, fake_clock: FakeClock) -> None:
    """After a rotation both versions sign: the old one while it is used up, and the new one."""
    digest = hashlib.sha256(b"header.claims").digest()

    async def story() -> None:
        worker = Worker(timeless, fake_clock)
        try:
            timeless.vault.create_certificate(CERTIFICATE, Policy(subject="CN=vend"))
            old, new = [found.version for found in await worker.vault.certificate_versions(CERTIFICATE)][-2:]
            for version in (old, new, old):
                _, key_id = await worker.vault.certificate(CERTIFICATE, version)
                signature = await worker.vault.sign(key_id, digest, Algorithm.PS256)
                der = timeless.vault.certificate(CERTIFICATE, version)
                key = x509.load_der_x509_certificate(der).public_key()
                assert isinstance(key, rsa.RSAPublicKey)
                key.verify(signature, digest, PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH), Prehashed(SHA256()))
        finally:
            await worker.network.aclose()

    asyncio.run(story())
