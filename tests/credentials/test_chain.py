"""What becomes of the credentials of a profile when Entra refuses one."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

import jwt
import pytest

from shared.core.entra.clouds import CLOUDS
from shared.core.errors import CredentialRefused
from shared.core.limits import Limits
from shared.core.reply import Reply
from shared.core.token import Wanted
from shared.credentials.chain import Chain
from shared.credentials.credential import Proof
from shared.credentials.vault_certificate import VaultCertificate
from shared.tokens.acquire import Client, Entra
from tests.credentials.bench import CLIENT, ENDPOINT, KEY, Bench, FakeVault

TOKEN = b'{"token_type": "Bearer", "expires_in": 3600, "access_token": "opaque"}'


class Registration:
    """An app registration that knows some certificates, and a profile with several credentials for it."""

    def __init__(self, *versions: str, known: set[str]) -> None:
        self.known = known
        self.proofs: list[Mapping[str, str]] = []
        self._bench = Bench()
        links = [self._link(version) for version in versions]
        self._entra = Entra(
            cloud=CLOUDS["public"],
            clients={KEY.profile: Client(client_id=CLIENT, credential=Chain(links))},
            post=self._post,
            limits=Limits(),
            system=self._bench.system,
            events=self._bench.events,
        )

    @property
    def asked(self) -> list[str]:
        """List the certificates that proofs were made with, in their order."""
        return [jwt.get_unverified_header(proof["client_assertion"])["x5t#S256"] for proof in self.proofs]

    def acquire(self) -> str:
        """Acquire a token."""
        return asyncio.run(self._entra.acquire(Wanted(KEY, flight_id="id-7"))).token.secret

    def _link(self, version: str) -> VaultCertificate:
        vault = FakeVault(self._bench.clock)
        vault.version = version
        return self._bench.credential_in(vault)

    def acquire_at_once(self, count: int) -> set[type]:
        """Start so many flights at once, and return what they raised."""

        async def flights() -> list[object]:
            each = (self._entra.acquire(Wanted(KEY, flight_id="id-7")) for _ in range(count))
            return list(await asyncio.gather(*each, return_exceptions=True))

        return {type(ended) for ended in asyncio.run(flights())}

    async def _post(self, url: str, form: bytes, *, headers: Mapping[str, str]) -> Reply:  # noqa: ARG002
        await asyncio.sleep(0)  # the other flights ask meanwhile
        self.proofs.append({name: values[0] for name, values in parse_qs(form.decode()).items()})
        return Reply(200, TOKEN) if self.asked[-1] in self.known else Reply(401, b'{"error": "invalid_client"}')


def test_the_next_credential_proves_the_client_where_the_first_is_refused() -> None:
    """One flight asks with both, and later flights ask with the accepted one alone."""
    registration = Registration("v1", "v2", known={"v2"})
    assert [registration.acquire(), registration.acquire()] == ["opaque", "opaque"]
    assert registration.asked == ["v1", "v2", "v2"]


@pytest.mark.parametrize(("known", "asked"), [("v1", ["v1"]), ("v2", ["v1", "v2"])])
def test_where_every_credential_is_refused_all_count_again(known: str, asked: list[str]) -> None:
    """A flight asks with each at most once; the first that becomes known later is found by the next flight."""
    registration = Registration("v1", "v2", known=set())
    with pytest.raises(CredentialRefused):
        registration.acquire()
    registration.known = {known}
    assert registration.acquire() == "opaque"
    assert registration.asked == ["v1", "v2", *asked]


def test_flights_at_once_ask_with_each_credential_once_each() -> None:
    """What one flight learns of the links does not make another begin again: 20 requests for ten, and not 65."""
    registration = Registration("v1", "v2", known=set())
    assert registration.acquire_at_once(10) == {CredentialRefused}
    assert len(registration.asked) <= 20


def test_a_refused_assertion_is_not_sent_again() -> None:
    """FND-G5: a refusal has proved it wrong, so its nine minutes are over; the next proof is signed anew."""
    registration = Registration("v1", known=set())
    for _ in range(2):
        with pytest.raises(CredentialRefused):
            registration.acquire()
    first, second = (proof["client_assertion"] for proof in registration.proofs)
    assert first != second


class Link:
    """A credential whose version and end a test sets, and whose proofs name it."""

    def __init__(self, name: str, *, version: str, not_after: datetime | None = None) -> None:
        self._name = name
        self.version = version
        self.not_after = not_after
        self.dropped: list[Proof] = []

    async def proof(self, audience: str, claims: str | None) -> Proof:  # noqa: ARG002
        """Make a proof."""
        return Proof({"by": self._name}, self.version)

    def refused(self, proof: Proof) -> None:
        """Note it."""
        self.dropped.append(proof)


def test_a_chain_of_one_certificate_under_two_names_begins_with_the_first() -> None:
    """A refused version may turn up in another link: then every link was refused, and their order decides."""
    first, second = Link("first", version="v1"), Link("second", version="v2")
    chain = Chain([first, second])
    assert chain.refused(asyncio.run(chain.proof(ENDPOINT, None)))
    second.version = "v1"
    assert asyncio.run(chain.proof(ENDPOINT, None)).fields == {"by": "first"}
    assert chain.version == "v1"


def test_every_refused_proof_reaches_the_credential_that_made_it() -> None:
    """FND-G5: two flights may send proofs of one credential, and the second is refused when the chain has gone on."""
    first, second = Link("first", version="v1"), Link("second", version="v2")
    chain = Chain([first, second])
    proofs = [Proof({"for": tenant}, "v1") for tenant in ("one tenant", "another")]
    assert [chain.refused(proof) for proof in proofs] == [True, True]
    assert first.dropped == proofs


def test_a_chain_ends_with_its_first_credential_that_ends() -> None:
    """REL-29: the operator is warned of the one that ends first; one that nobody has read says nothing."""
    ends = [None, datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)]
    assert Chain([Link("any", version=str(end), not_after=end) for end in ends]).not_after == ends[2]
    assert Chain([Link("any", version="")]).not_after is None
